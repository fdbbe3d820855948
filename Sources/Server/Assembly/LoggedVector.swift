import Core
import Features

/// A row of the prediction log.
struct LoggedVector: Decodable, Sendable {
  var requestID: String
  var model: String
  var version: String?
  var keys: String
  var inputs: String
  /// Nil in logs of before it was written.
  var requestInputs: String?
  var time: Timestamp

  enum CodingKeys: String, CodingKey {
    case requestID = "request_id"
    case model = "model_id"
    case version = "model_version"
    case keys = "entity_keys"
    case inputs = "model_inputs"
    case requestInputs = "request_inputs"
    case time = "event_datetime"
  }

  typealias Versions = [String: [ModelVersion]]

  /// How many values of the vector its model derived.
  func derivedCount(_ models: Versions) -> Int { derived(models).count }

  /// - Parameter models: the registry: a model's own expressions are those of the version that predicted.
  func served(_ snapshot: Snapshot, _ models: Versions) throws -> ParityCheck.Served {
    var row: RequestRow = [:]
    if case .object(let members) = try JSON(parsing: Array(keys.utf8)) {
      for member in members { row[member.key] = member.value.scalar }
    }
    var values: [FeatureName: FeatureValue] = [:]
    let vector = try JSON(parsing: Array(inputs.utf8)).array ?? []
    for input in vector {
      // Inputs and derived values of the model have no view.
      guard let name = input["name"]?.string.flatMap({ FeatureName($0) }),
        let feature = snapshot.project.view(name.view)?.feature(name.feature),
        let status = input["status"]?.string.flatMap({ FeatureStatus(rawValue: $0) })
      else { continue }
      values[name] = FeatureValue(
        value: (input["value"] ?? .null).value(of: feature.type), status: status)
    }
    return ParityCheck.Served(
      id: requestID, keys: row, time: time, values: values,
      derived: try derived(in: vector, snapshot, models))
  }

  private func derived(_ models: Versions) -> [(feature: ModelFeature, expression: Expression)] {
    let found = models[model]?.first { String($0.version) == version }
    return (found?.features ?? []).compactMap { feature in
      guard case .derived(let expression) = feature.origin else { return nil }
      return (feature, expression)
    }
  }

  /// Those of which every input is known.
  private func derived(
    in vector: [JSON], _ snapshot: Snapshot, _ models: Versions
  ) throws -> [ParityCheck.ServedDerived] {
    let brought = try requestInputs.map { try JSON(parsing: Array($0.utf8)) }
    let types = Dictionary(
      (snapshot.project.model(model)?.inputs ?? []).map { ($0.name, $0.type) }
    ) { first, _ in first }
    return derived(models).compactMap { feature, expression in
      guard let logged = vector.first(where: { $0["name"]?.string == feature.name }),
        let status = logged["status"]?.string.flatMap({ FeatureStatus(rawValue: $0) })
      else { return nil }
      var inputs: [String: (value: Value, type: ColumnType)] = [:]
      for name in expression.names where FeatureName(name) == nil {
        guard let type = types[name], let brought else { return nil }
        inputs[name] = ((brought[name] ?? .null).value(of: type), type)
      }
      return ParityCheck.ServedDerived(
        name: FeatureName(view: "models.\(model)", feature: feature.name), expression: expression,
        type: feature.type,
        value: FeatureValue(
          value: (logged["value"] ?? .null).value(of: feature.type), status: status),
        inputs: inputs)
    }
  }
}

extension JSON {
  /// What the log wrote for a value of a type.
  fileprivate func value(of type: ColumnType) -> Value {
    switch (type, self) {
    case (.double, .string(let text)): return Double(text).map { .double($0) } ?? .null
    case (.double, _): return number.map { .double($0) } ?? .null
    case (.timestamp, .string(let text)):
      return (try? Timestamp(iso8601: text)).map { .timestamp($0) } ?? .null
    case (.array, _): return value.flatMap { $0.list(as: type) } ?? .null
    default: return scalar ?? .null
    }
  }
}
