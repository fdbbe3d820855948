import Core
import Serving

/// What an inference request gives the predictor: the vectors themselves, or rows of keys and inputs to hydrate.
package struct InferenceRows {
  private let signature: InferenceSignature
  private var model: ModelDefinition { signature.model }
  private var project: ProjectDefinition { signature.project }
  private var features: [ModelFeature] { signature.features }

  package init(_ signature: InferenceSignature) { self.signature = signature }

  /// - Throws: `invalid_argument` where the call brings neither, or not enough, or too many rows.
  package func fill(_ request: inout PredictRequest, from call: InferenceCall) throws {
    if let entities = call.parameters["entities"], entities != .null {
      request.rows = try rows(of: entities)
      return try add(call.inputs, to: &request.rows)
    }
    guard let first = call.inputs.first else {
      throw PlatformError(
        .invalidArgument,
        "the request has no inputs: send tensors of the features of model '\(model.name)', or name entities, as in \"parameters\": {\"entities\": [\(example)]}"
      )
    }
    try check(rows: first.rows)
    request.vectors = try FeatureColumns.batch(call.inputs, as: signature)
    if request.vectors != nil { return }
    try checkNames(call.inputs, signature.others)
    request.rows = [RequestRow](repeating: RequestRow(), count: first.rows)
    try add(call.inputs, to: &request.rows)
  }

  private func check(rows count: Int) throws {
    guard (1...Predictor.maximumRows).contains(count) else {
      throw PlatformError(
        .invalidArgument,
        "a prediction of '\(model.name)' takes 1 to \(Predictor.maximumRows) rows, but got \(count)"
      )
    }
  }

  /// Keys and inputs are hydrated, features are not: a request that mixes them is neither.
  private func checkNames(_ tensors: [Tensor], _ others: Set<String>) throws {
    for tensor in tensors where !others.contains(tensor.name) {
      let names = Set(tensors.map(\.name))
      if features.contains(where: { $0.name == tensor.name }) {
        let lacking = features.map(\.name).filter { !names.contains($0) }
        throw PlatformError(
          .invalidArgument,
          "a request that brings features of model '\(model.name)' brings all of them; these are not sent: "
            + lacking.prefix(8).joined(separator: ", "))
      }
      throw PlatformError(
        .invalidArgument,
        "tensor '\(tensor.name)' is no feature, input or key column of model '\(model.name)'"
          + suggestion(for: tensor.name, among: others.union(features.map(\.name))))
    }
  }

  // MARK: Entities

  /// `{"customer_id": 42}`, a list of such objects, or either as a text, since gRPC has no other way.
  private func rows(of entities: JSON) throws -> [RequestRow] {
    var json = entities
    if case .string(let text) = entities {
      do {
        json = try JSON(parsing: Array(text.utf8))
      } catch {
        throw PlatformError(
          .invalidArgument, "the parameter 'entities' is a text that is no JSON", cause: error)
      }
    }
    let rows = try FeatureJSON.rows(json, field: "entities")
    try check(rows: rows.count)
    return rows
  }

  /// Each tensor as a column of the rows.
  private func add(_ tensors: [Tensor], to rows: inout [RequestRow]) throws {
    for tensor in tensors {
      guard tensor.rows == rows.count else {
        throw PlatformError(
          .invalidArgument,
          "tensor '\(tensor.name)' has \(tensor.rows) rows, but the request has \(rows.count)")
      }
      let reader = ElementReader(tensor, feature: tensor.name)
      let type = model.inputs.first { $0.name == tensor.name }?.type
      let width = tensor.width
      guard width == 1 || type?.isArray ?? false else {
        throw PlatformError(
          .invalidArgument,
          "tensor '\(tensor.name)' of shape \(tensor.shape) brings \(width) values a row; one is taken"
        )
      }
      for row in rows.indices {
        rows[row][tensor.name] =
          type?.isArray ?? false
          ? list(tensor, row, width) : reader.value(row)
      }
    }
  }

  private func list(_ tensor: Tensor, _ row: Int, _ width: Int) -> Value {
    .list(tensor.elements.part(row * width..<(row + 1) * width))
  }

  private var example: String {
    let keys = model.entities.flatMap { project.entity($0)?.key ?? [$0] }
    let members = (keys + model.inputs.map(\.name)).prefix(4).map { "\"\($0)\": …" }
    return "{\(members.joined(separator: ", "))}"
  }
}

extension ColumnValues {
  fileprivate func part(_ range: Range<Int>) -> ColumnValues {
    switch self {
    case .bool(let all): .bool(Array(all[range]))
    case .int64(let all): .int64(Array(all[range]))
    case .double(let all): .double(Array(all[range]))
    case .string(let all): .string(Array(all[range]))
    case .timestamp(let all): .timestamp(Array(all[range]))
    case .list: self
    }
  }
}
