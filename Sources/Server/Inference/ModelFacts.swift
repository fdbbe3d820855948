import Core

/// What the protocol tells of the server and of its models.
struct ModelFacts: Sendable {
  static let serverName = "martlet"
  static let extensions = [
    "binary_tensor_data", "entities", "model_configuration", "model_repository", "parameters",
    "statistics",
  ]

  /// A tensor as a model takes or gives it; a dimension of any size is -1.
  struct TensorFacts: Sendable {
    var name: String
    var type: TensorType
    var shape: [Int64]
  }

  var name: String
  /// Newest first; those that can be asked for.
  var versions: [Int64]
  /// The library that made the artifact.
  var platform: String
  var inputs: [TensorFacts]
  var outputs: [TensorFacts]

  /// - Parameter features: of the version that is asked about.
  init(_ model: ModelDefinition, versions: [ModelVersion], number: Int64?, features: [ModelFeature])
  {
    name = model.name
    self.versions = versions.filter { number == nil || $0.version == number }.map(\.version)
    let one =
      versions.first { $0.version == number } ?? versions.first { $0.stage == .production }
      ?? versions.first
    platform = one?.format ?? "martlet"
    inputs = features.map { feature in
      var shape: [Int64] = [-1]
      if case .array(_, let length) = feature.type {
        shape.append(Int64(length ?? feature.elements ?? -1))
      }
      return TensorFacts(name: feature.name, type: TensorType(feature.type.scalar), shape: shape)
    }
    outputs = [TensorFacts(name: InferenceAnswer.prediction, type: .fp64, shape: [-1])]
  }

  // MARK: JSON

  static var server: JSON {
    .object([
      "name": .string(serverName), "version": .string(PlatformVersion.text),
      "extensions": .array(extensions.map { .string($0) }),
    ])
  }

  var metadata: JSON {
    func tensors(_ all: [TensorFacts]) -> JSON {
      .array(
        all.map { tensor in
          .object([
            "name": .string(tensor.name), "datatype": .string(tensor.type.rawValue),
            "shape": .array(tensor.shape.map { .int($0) }),
          ])
        })
    }
    return .object([
      "name": .string(name), "versions": .array(versions.map { .string(String($0)) }),
      "platform": .string(platform), "inputs": tensors(inputs), "outputs": tensors(outputs),
    ])
  }

  /// Triton's configuration of a model, where it says something here: rows are the first dimension of every tensor.
  var configuration: JSON {
    func tensors(_ all: [TensorFacts]) -> JSON {
      .array(
        all.map { tensor in
          .object([
            "name": .string(tensor.name), "data_type": .string(tensor.type.configurationName),
            "dims": .array(tensor.shape.map { .int($0) }),
          ])
        })
    }
    return .object([
      "name": .string(name), "platform": .string(platform), "backend": .string("martlet"),
      "max_batch_size": .int(0), "input": tensors(inputs), "output": tensors(outputs),
    ])
  }
}

extension TensorType {
  var configurationName: String { self == .bytes ? "TYPE_STRING" : "TYPE_\(rawValue)" }
}

extension InferenceService {
  func facts(of name: String, version: String?) throws -> ModelFacts {
    let signature = try signature(of: name, version)
    return ModelFacts(
      signature.model, versions: services.online.visible.current.models[name] ?? [],
      number: signature.number, features: signature.features)
  }

  /// Whether the model answers without being loaded first.
  ///
  /// - Throws: `not_found` for a model or version that there is not.
  func isReady(_ name: String, version: String?) throws -> Bool {
    services.served.isLoaded(try signature(of: name, version).number, of: name)
  }

  /// Whether everything that is in production is loaded.
  var isReady: Bool { services.served.isReady }
}
