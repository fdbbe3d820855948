import Core
import Features

/// The model's policy for features without a value, applied to hydrated rows.
package enum MissingFeatures {
  /// The columns that the model gets.
  ///
  /// - Throws: `missing_feature` that names every feature whose rule is `error` and which some row
  /// lacks.
  package static func resolve(
    _ policy: MissingPolicy, _ rows: HydratedRows, model: String
  ) throws -> ColumnBatch {
    var missing: [String] = []
    let columns = rows.features.enumerated().map { index, feature in
      var column = Column(name: feature.name, values: ColumnValues(empty: feature.type))
      var rule: MissingPolicy.Rule?
      for vector in rows.vectors {
        let cell = vector.values[index].value
        guard cell.isNull else {
          column.append(cell)
          continue
        }
        let found = rule ?? policy.rule(for: feature.name)
        rule = found
        if found == .error, missing.last != feature.name { missing.append(feature.name) }
        column.append(substitute(found, feature.type))
      }
      return column
    }
    guard missing.isEmpty else { throw absent(missing, rows, model) }
    return ColumnBatch(columns: columns, count: rows.vectors.count)
  }

  /// The same for columns that are there already; a rule of `error` leaves the null.
  static func fill(_ policy: MissingPolicy, _ batch: ColumnBatch) -> ColumnBatch {
    var batch = batch
    for index in batch.columns.indices {
      let column = batch.columns[index]
      guard let presence = column.presence, presence.contains(where: { $0 != 0 }),
        case .value = policy.rule(for: column.name)
      else { continue }
      let value = substitute(policy.rule(for: column.name), column.type)
      let cells = (0..<column.count).map { column.isPresent($0) ? column[$0] : value }
      batch.columns[index] = Column(name: column.name, type: column.type, cells)
    }
    return batch
  }

  private static func substitute(_ rule: MissingPolicy.Rule, _ type: ColumnType) -> Value {
    guard case .value(let number) = rule else { return .null }
    return switch type {
    case .double: .double(number)
    case .int64: Int64(exactly: number.rounded()).map { .int64($0) } ?? .null
    case .bool: .bool(number != 0)
    // A number stands for no text and no time.
    case .string, .timestamp: .null
    // Every element is the number.
    case .array(let element, let length?): repeated(number, element, length)
    case .array: .null
    }
  }

  private static func repeated(_ number: Double, _ type: ScalarType, _ count: Int) -> Value {
    switch substitute(.value(number), ColumnType(type)) {
    case .bool(let value): .list(.bool([Bool](repeating: value, count: count)))
    case .int64(let value): .list(.int64([Int64](repeating: value, count: count)))
    case .double(let value): .list(.double([Double](repeating: value, count: count)))
    default: .null
    }
  }

  private static func absent(
    _ names: [String], _ rows: HydratedRows, _ model: String
  ) -> PlatformError {
    let reasons = names.map { name in
      let index = rows.features.firstIndex { $0.name == name } ?? 0
      let row = rows.vectors.firstIndex { $0.values[index].value.isNull } ?? 0
      let status = rows.vectors[row].values[index].status.rawValue
      return "'\(name)' (\(status)\(rows.vectors.count > 1 ? " in row \(row + 1)" : ""))"
    }
    return PlatformError(
      .missingFeature,
      "model '\(model)' wants a value for \(reasons.joined(separator: ", ")); ingest events of "
        + "these entities first, or give the model another rule under `missing`",
      context: ["features": names.joined(separator: ",")])
  }
}
