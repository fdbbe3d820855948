import Core
import Serving

/// The answer to an inference request, whichever way it goes back.
package struct InferenceAnswer: Sendable {
  package struct Output: Sendable {
    package var tensor: Tensor
    package var isBinary: Bool

    package init(tensor: Tensor, isBinary: Bool) {
      self.tensor = tensor
      self.isBinary = isBinary
    }
  }

  /// What a model says of each row: FP64 of shape [rows].
  package static let prediction = "prediction"

  package var id: String
  package var model: String
  package var version: Int64
  package var stage: String
  /// Why this version answered.
  package var route: String
  package var outputs: [Output]

  package init(
    id: String, model: String, version: Int64, stage: String, route: String, outputs: [Output]
  ) {
    self.id = id
    self.model = model
    self.version = version
    self.stage = stage
    self.route = route
    self.outputs = outputs
  }

  /// The outputs that the call wants, in its order: `prediction`, and features by their names as the model saw them.
  ///
  /// - Throws: `invalid_argument` for an output that there is not.
  init(_ answer: PredictAnswer, to call: InferenceCall) throws {
    let wanted =
      call.outputs.isEmpty ? [InferenceCall.Output(name: InferenceAnswer.prediction)] : call.outputs
    let outputs = try wanted.map { output in
      Output(
        tensor: try InferenceAnswer.tensor(output.name, of: answer),
        isBinary: output.isBinary ?? call.wantsBinary)
    }
    self.init(
      id: answer.requestID, model: answer.model, version: answer.version,
      stage: answer.stage.rawValue, route: answer.route, outputs: outputs)
  }

  private static func tensor(_ name: String, of answer: PredictAnswer) throws -> Tensor {
    let rows = answer.predictions.count
    if name == prediction {
      return Tensor(
        name: name, type: .fp64, shape: [rows], elements: .double(answer.predictions.map(\.value)))
    }
    guard let index = answer.featureNames.firstIndex(of: name) else {
      throw noOutput(name, features: answer.featureNames)
    }
    return tensor(name, answer.predictions.map { $0.vector.values[index].value })
  }

  static func noOutput(_ name: String, features: [String]) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "there is no output '\(name)': a model answers '\(prediction)' and, by name, the features that it read"
        + suggestion(for: name, among: [prediction] + features))
  }

  /// The values of a feature; arrays as a second dimension where all are of one length.
  private static func tensor(_ name: String, _ values: [Value]) -> Tensor {
    let type = values.lazy.compactMap(\.type).first?.scalar ?? .double
    if case .list(let first)? = values.first(where: { !$0.isNull }) {
      var flat = Column(name: name, values: ColumnValues(empty: ColumnType(type)))
      let width =
        values.map { value in
          if case .list(let elements) = value { elements.count } else { 0 }
        }.max() ?? first.count
      for value in values {
        var cells: [Value] = []
        if case .list(let elements) = value { cells = elements.scalars }
        for element in 0..<width { flat.append(element < cells.count ? cells[element] : .null) }
      }
      return Tensor(
        name: name, type: TensorType(type), shape: [values.count, width], elements: flat.values,
        presence: flat.presence)
    }
    let column = Column(name: name, type: ColumnType(type), values)
    return Tensor(
      name: name, type: TensorType(type), shape: [values.count], elements: column.values,
      presence: column.presence)
  }
}

// MARK: REST

extension InferenceAnswer {
  /// The JSON, and behind it the tensors that are binary; `header` is the length of the JSON where there are any.
  package func body() -> (bytes: [UInt8], header: Int?) {
    var json: [UInt8] = []
    json.reserveCapacity(256 + outputs.reduce(0) { $0 + $1.tensor.elements.count * 20 })
    json.append(contentsOf: "{\"id\":".utf8)
    JSON.write(id, into: &json)
    json.append(contentsOf: ",\"model_name\":".utf8)
    JSON.write(model, into: &json)
    json.append(contentsOf: ",\"model_version\":\"\(version)\",\"parameters\":{\"stage\":".utf8)
    JSON.write(stage, into: &json)
    json.append(contentsOf: ",\"route\":".utf8)
    JSON.write(route, into: &json)
    json.append(contentsOf: "},\"outputs\":[".utf8)
    var binary: [UInt8] = []
    FeatureJSON.separated(outputs, into: &json) { output, json in
      Self.write(output, &json, &binary)
    }
    json.append(contentsOf: "]}".utf8)
    if !outputs.contains(where: \.isBinary) { return (json, nil) }
    let header = json.count
    json.append(contentsOf: binary)
    return (json, header)
  }

  private static func write(_ output: Output, _ json: inout [UInt8], _ binary: inout [UInt8]) {
    let tensor = output.tensor
    json.append(contentsOf: "{\"name\":".utf8)
    JSON.write(tensor.name, into: &json)
    json.append(contentsOf: ",\"datatype\":\"\(tensor.type.rawValue)\",\"shape\":[".utf8)
    FeatureJSON.separated(tensor.shape, into: &json) { JSON.write(Int64($0), into: &$1) }
    if output.isBinary {
      let before = binary.count
      TensorBytes.append(tensor, to: &binary)
      json.append(
        contentsOf: "],\"parameters\":{\"binary_data_size\":\(binary.count - before)}}".utf8)
      return
    }
    json.append(contentsOf: "],\"data\":[".utf8)
    let column = Column(name: "", values: tensor.elements, presence: tensor.presence)
    FeatureJSON.separated(0..<column.count, into: &json) { JSON.write(column[$0], into: &$1) }
    json.append(contentsOf: "]}".utf8)
  }
}
