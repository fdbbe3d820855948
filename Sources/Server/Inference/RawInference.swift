import Core

/// Requests that are nothing but bytes: `Inference-Header-Content-Length: 0`.
extension InferenceService {
  /// The bytes as the model's only input, or as the matrix of its features in FP64; as many rows as they make.
  ///
  /// A text stands alone, without its length. The outputs go back as binary data.
  func rawCall(
    _ bytes: UnsafeRawBufferPointer, model name: String, version: String?
  ) throws -> InferenceCall {
    let features = try signature(of: name, version).features
    var call = InferenceCall()
    call.parameters = .object(["binary_data_output": .bool(true)])
    call.inputs = [try RawTensor.tensor(bytes, features, model: name)]
    return call
  }
}

package enum RawTensor {
  package static func tensor(
    _ bytes: UnsafeRawBufferPointer, _ features: [ModelFeature], model: String
  ) throws -> Tensor {
    var type = TensorType.fp64
    var name = "raw_input"
    if features.count == 1, let only = features.first {
      type = TensorType(only.type.scalar)
      name = only.name
    }
    if type == .bytes {
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw PlatformError(.invalidArgument, "the body is taken as one text, but is not UTF-8")
      }
      return Tensor(name: name, type: type, shape: [1], elements: .string([text]))
    }
    guard features.allSatisfy({ $0.type.scalar != .string }) else {
      throw PlatformError(
        .invalidArgument,
        "model '\(model)' reads texts beside other features, which bytes alone do not tell apart; send the tensors with their JSON"
      )
    }
    let columns = features.map(\.columnNames.count).reduce(0, +)
    let row = columns * (type.width ?? 1)
    guard row > 0, bytes.count > 0, bytes.count.isMultiple(of: row) else {
      throw PlatformError(
        .invalidArgument,
        "a row of model '\(model)' is \(columns) \(type.rawValue), which is \(row) bytes, but the body has \(bytes.count)"
      )
    }
    let rows = bytes.count / row
    return Tensor(
      name: name, type: type, shape: columns == 1 ? [rows] : [rows, columns],
      elements: try TensorBytes.elements(bytes, of: type, count: rows * columns, name: name))
  }
}
