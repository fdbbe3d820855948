import Core

/// The element types of the Open Inference Protocol.
package enum TensorType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "UINT8"
  case uint16 = "UINT16"
  case uint32 = "UINT32"
  case uint64 = "UINT64"
  case int8 = "INT8"
  case int16 = "INT16"
  case int32 = "INT32"
  case int64 = "INT64"
  case fp16 = "FP16"
  case fp32 = "FP32"
  case fp64 = "FP64"
  case bf16 = "BF16"
  case bytes = "BYTES"

  /// Bytes of an element; nil where elements bring their own length.
  package var width: Int? {
    switch self {
    case .bool, .uint8, .int8: 1
    case .uint16, .int16, .fp16, .bf16: 2
    case .uint32, .int32, .fp32: 4
    case .uint64, .int64, .fp64: 8
    case .bytes: nil
    }
  }

  /// What values of a type travel as.
  package init(_ type: ScalarType) {
    self =
      switch type {
      case .bool: .bool
      case .int64, .timestamp: .int64
      case .double: .fp64
      case .string: .bytes
      }
  }

  /// - Throws: `invalid_argument` with the nearest name.
  package init(named name: String, of tensor: String) throws(PlatformError) {
    guard let known = TensorType(rawValue: name) else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(tensor)' has the unknown datatype '\(name)'"
          + suggestion(for: name, among: TensorType.allCases.map(\.rawValue)))
    }
    self = known
  }

  /// The whole numbers that fit, of integer types.
  var integers: ClosedRange<Int64>? {
    switch self {
    case .int8: Int64(Int8.min)...Int64(Int8.max)
    case .int16: Int64(Int16.min)...Int64(Int16.max)
    case .int32: Int64(Int32.min)...Int64(Int32.max)
    case .int64: Int64.min...Int64.max
    case .uint8: 0...Int64(UInt8.max)
    case .uint16: 0...Int64(UInt16.max)
    case .uint32: 0...Int64(UInt32.max)
    case .uint64: 0...Int64.max
    case .bool, .fp16, .fp32, .fp64, .bf16, .bytes: nil
    }
  }
}

/// A named array of any number of dimensions, its elements row major.
///
/// Integers are int64 (UINT64 beyond them doubles), floats doubles, BYTES texts.
package struct Tensor: Sendable, Equatable {
  package var name: String
  package var type: TensorType
  package var shape: [Int]
  package var elements: ColumnValues
  /// One `Presence` raw value an element; nil where none is null.
  package var presence: [UInt8]?

  package init(
    name: String, type: TensorType, shape: [Int], elements: ColumnValues, presence: [UInt8]? = nil
  ) {
    self.name = name
    self.type = type
    self.shape = shape
    self.elements = elements
    self.presence = presence
  }

  /// The first dimension.
  package var rows: Int { shape.first ?? 0 }
  /// Elements of a row.
  package var width: Int { shape.dropFirst().reduce(1, *) }

  package func isPresent(_ element: Int) -> Bool { presence.map { $0[element] == 0 } ?? true }

  /// The number of elements of a shape that a caller states.
  ///
  /// - Throws: `invalid_argument` where it has no dimension, a negative one, or more elements than any request can bring.
  package static func count(of shape: [Int], _ name: String) throws(PlatformError) -> Int {
    guard !shape.isEmpty else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' has an empty shape; its first dimension is the number of rows, as in [1]")
    }
    guard shape.count <= Limits.tensorDimensions else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' has \(shape.count) dimensions; at most \(Limits.tensorDimensions) are taken"
      )
    }
    var count = 1
    for dimension in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow, product <= Limits.requestBytes else {
        throw PlatformError(
          .invalidArgument,
          "tensor '\(name)' cannot have the shape \(shape): dimensions are 0 or more, and all its elements must fit a request"
        )
      }
      count = product
    }
    return count
  }
}
