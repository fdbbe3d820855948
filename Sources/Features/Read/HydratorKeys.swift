import Core

extension HydrationPlan.Key {
  /// The key that a row of a request names; nil where a part of it is null.
  func value(in row: RequestRow, row number: Int) throws -> EntityKey? {
    if columns.count == 1 {
      guard let part = try part(columns[0], of: row, row: number) else { return nil }
      return EntityKey([part])
    }
    var parts: [Value] = []
    parts.reserveCapacity(columns.count)
    var hasNull = false
    for column in columns {
      if let part = try part(column, of: row, row: number) {
        parts.append(part)
      } else {
        hasNull = true
      }
    }
    return hasNull ? nil : EntityKey(parts)
  }

  private func part(
    _ column: ColumnDefinition, of row: RequestRow, row number: Int
  ) throws -> Value? {
    guard let value = row[column.name] ?? (columns.count == 1 ? row[entity] : nil) else {
      let alias = columns.count == 1 && entity != column.name ? " (or '\(entity)')" : ""
      throw PlatformError(
        .invalidArgument,
        "row \(number + 1) does not name entity '\(entity)': give its key column '\(column.name)'\(alias)",
        context: ["entity": entity, "column": column.name])
    }
    switch (value, column.type) {
    case (.null, _): return nil
    case (.string, .string), (.int64, .int64): return value
    case (.double(let double), .int64):
      // JSON knows no whole numbers.
      if let whole = Int64(exactly: double) { return .int64(whole) }
    default: break
    }
    throw PlatformError(
      .invalidArgument,
      "row \(number + 1): key column '\(column.name)' of entity '\(entity)' takes \(column.type.rawValue), but got \(value.typeName)",
      context: ["entity": entity, "column": column.name])
  }
}

extension HydrationPlan.Input {
  /// What a row of a request brings: `not_found` where it does not, `null` where it says null.
  func value(in row: RequestRow, row number: Int) throws -> FeatureValue {
    guard let value = row[column.name] else { return FeatureValue(value: .null, status: .notFound) }
    if value.isNull { return FeatureValue(value: .null, status: .null) }
    if value.type == column.type { return FeatureValue(value: value, status: .present) }
    if let list = value.list(as: column.type) { return FeatureValue(value: list, status: .present) }
    switch (value, column.type) {
    case (.int64(let number), .double):
      return FeatureValue(value: .double(Double(number)), status: .present)
    case (.double(let double), .int64):
      if let whole = Int64(exactly: double) {
        return FeatureValue(value: .int64(whole), status: .present)
      }
    case (.string(let text), .timestamp):
      if let time = try? Timestamp(iso8601: text) {
        return FeatureValue(value: .timestamp(time), status: .present)
      }
    default: break
    }
    throw PlatformError(
      .invalidArgument,
      "row \(number + 1): input '\(column.name)' takes \(column.type.rawValue), but got \(value.typeName)",
      context: ["input": column.name])
  }
}

extension Value {
  fileprivate var typeName: String {
    guard case .list(let elements) = self else { return type?.rawValue ?? "null" }
    return "an array of \(elements.count) \(elements.type.rawValue) elements"
  }
}
