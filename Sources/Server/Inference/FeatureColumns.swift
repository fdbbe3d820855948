import Core

/// Tensors as the columns of a model's vector: one tensor a feature under its name, or one matrix in the signature's order.
///
/// A NaN is a missing value, as a null is: binary tensors have no other way to say so.
package enum FeatureColumns {
  /// Nil where the tensors are no vector, but keys and inputs.
  ///
  /// - Throws: `invalid_argument` where a tensor is no feature, or not as the signature says.
  package static func batch(
    _ tensors: [Tensor], as signature: InferenceSignature
  ) throws -> ColumnBatch? {
    let features = signature.features
    switch signature.form(tensors) {
    case nil: return nil
    case .matrix: return try matrix(tensors[0], signature)
    case .inOrder:
      try checkRows(tensors)
      let columns = try zip(features, tensors).map { feature, tensor in
        try column(feature, tensor, from: 0, width: tensor.width)
      }
      return ColumnBatch(columns: columns, count: tensors.first?.rows ?? 0)
    case .byName:
      try checkRows(tensors)
      let columns = try tensors.map { tensor in
        guard let position = signature.positions[tensor.name] else {
          throw PlatformError(
            .invalidArgument,
            "tensor '\(tensor.name)' is no feature of the model"
              + suggestion(for: tensor.name, among: features.map(\.name)))
        }
        let column = try column(features[position], tensor, from: 0, width: tensor.width)
        return (position, column)
      }
      return ColumnBatch(
        columns: columns.sorted { $0.0 < $1.0 }.map(\.1), count: tensors.first?.rows ?? 0)
    }
  }

  private static func checkRows(_ tensors: [Tensor]) throws {
    let rows = tensors.first?.rows ?? 0
    for tensor in tensors where tensor.rows != rows {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(tensor.name)' has \(tensor.rows) rows, but '\(tensors[0].name)' has \(rows)")
    }
  }

  private static func matrix(
    _ tensor: Tensor, _ signature: InferenceSignature
  ) throws -> ColumnBatch {
    let features = signature.features
    guard tensor.width == signature.width else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(tensor.name)' of shape \(tensor.shape) has \(tensor.width) values a row, but the model reads \(signature.width): "
          + features.prefix(8).map(\.name).joined(separator: ", ")
          + (features.count > 8 ? ", … (GET /v2/models/NAME lists them)" : ""))
    }
    var from = 0
    var columns = [Column](reserving: features.count)
    for (feature, span) in zip(features, signature.widths) {
      columns.append(try column(feature, tensor, from: from, width: span))
      from += span
    }
    return ColumnBatch(columns: columns, count: tensor.rows)
  }

  // MARK: One feature

  /// The values of columns `from` up to `from + width` of a tensor's rows.
  private static func column(
    _ feature: ModelFeature, _ tensor: Tensor, from: Int, width: Int
  ) throws -> Column {
    if case .array(let element, let length) = feature.type {
      return try lists(feature, tensor, element, length, from: from, width: width)
    }
    guard width == 1 else {
      throw PlatformError(
        .invalidArgument,
        "feature '\(feature.name)' is one \(feature.type.rawValue) a row, but tensor '\(tensor.name)' of shape \(tensor.shape) brings \(width)"
      )
    }
    let stride = tensor.width
    if case .double(let all) = tensor.elements, feature.type == .double {
      return doubles(feature.name, tensor, all, from: from, stride: stride)
    }
    let reader = ElementReader(tensor, feature: feature.name)
    var column = Column(
      name: feature.name, values: ColumnValues(empty: feature.type, reserving: tensor.rows))
    for row in 0..<tensor.rows {
      column.append(try reader.value(row * stride + from, as: feature.type.scalar))
    }
    return column
  }

  /// The common case, without a value for each cell.
  private static func doubles(
    _ name: String, _ tensor: Tensor, _ all: [Double], from: Int, stride: Int
  ) -> Column {
    let values: [Double]
    if stride == 1 {
      values = all
    } else {
      values = (0..<tensor.rows).map { all[$0 * stride + from] }
    }
    guard values.contains(where: \.isNaN) else {
      return Column(name: name, values: .double(values))
    }
    return Column(
      name: name, values: .double(values.map { $0.isNaN ? 0 : $0 }),
      presence: values.map { $0.isNaN ? Presence.null.rawValue : 0 })
  }

  private static func lists(
    _ feature: ModelFeature, _ tensor: Tensor, _ element: ScalarType, _ length: Int?, from: Int,
    width: Int
  ) throws -> Column {
    guard width == length ?? min(width, feature.elements ?? width) else {
      throw PlatformError(
        .invalidArgument,
        "feature '\(feature.name)' has \(length ?? feature.elements ?? 0) elements a row, but tensor '\(tensor.name)' of shape \(tensor.shape) brings \(width)"
      )
    }
    let reader = ElementReader(tensor, feature: feature.name)
    var column = Column(
      name: feature.name, values: ColumnValues(empty: feature.type, reserving: tensor.rows))
    for row in 0..<tensor.rows {
      let first = row * tensor.width + from
      let cells = try (first..<first + width).map { try reader.value($0, as: element) }
      let given = Column(name: "", type: ColumnType(element), cells)
      // An array has no missing elements: a row with one has no array.
      column.append(given.presence == nil ? .list(given.values) : .null)
    }
    return column
  }
}

/// Single elements of a tensor as values of the platform's types.
struct ElementReader {
  private let tensor: Tensor
  private let feature: String

  init(_ tensor: Tensor, feature: String) {
    self.tensor = tensor
    self.feature = feature
  }

  /// As it is; null where it is missing or NaN.
  func value(_ index: Int) -> Value {
    guard tensor.isPresent(index) else { return .null }
    switch tensor.elements {
    case .bool(let all): return .bool(all[index])
    case .int64(let all), .timestamp(let all): return .int64(all[index])
    case .double(let all): return all[index].isNaN ? .null : .double(all[index])
    case .string(let all): return .string(all[index])
    case .list: return .null
    }
  }

  /// - Throws: `invalid_argument` where the element is no value of the type.
  func value(_ index: Int, as type: ScalarType) throws -> Value {
    let value = value(index)
    switch (value, type) {
    case (.null, _), (.bool, .bool), (.int64, .int64), (.double, .double), (.string, .string):
      return value
    case (.int64(let whole), .double): return .double(Double(whole))
    case (.bool(let flag), .double): return .double(flag ? 1 : 0)
    case (.bool(let flag), .int64): return .int64(flag ? 1 : 0)
    case (.double(let number), .int64):
      if let whole = Int64(exactly: number) { return .int64(whole) }
    case (.int64(let whole), .bool):
      if whole == 0 || whole == 1 { return .bool(whole == 1) }
    case (.double(let number), .bool):
      if number == 0 || number == 1 { return .bool(number == 1) }
    case (.int64(let microseconds), .timestamp):
      return .timestamp(Timestamp(microseconds: microseconds))
    case (.string(let text), .timestamp):
      if let time = try? Timestamp(iso8601: text) { return .timestamp(time) }
    default: break
    }
    throw PlatformError(
      .invalidArgument,
      "element \(index + 1) of tensor '\(tensor.name)' (\(tensor.type.rawValue)) is no \(type.rawValue), as feature '\(feature)' wants"
    )
  }
}
