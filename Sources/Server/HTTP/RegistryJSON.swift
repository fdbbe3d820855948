import Catalog
import Core

/// Models and versions of the registry as our own REST API writes them.
enum RegistryJSON {
  static func model(_ model: RegisteredModel) -> JSON {
    .object([
      "name": .string(model.name), "defined": .bool(model.isDefined),
      "description": .string(model.description ?? ""), "tags": texts(model.tags),
      "aliases": .object(
        model.aliases.sorted { $0.key < $1.key }.map { .init($0.key, .int($0.value)) }),
      "versions": .array(model.versions.map(version)),
      "created_at": .string(model.createdAt.description),
      "updated_at": .string(model.updatedAt.description),
    ])
  }

  static func version(_ version: RegisteredVersion) -> JSON {
    let trained = version.trained
    return .object([
      "model": .string(version.model), "version": .int(version.version),
      "stage": .string(version.stage.rawValue), "can_serve": .bool(version.canServe),
      "description": .string(version.description ?? ""),
      "aliases": .array(version.aliases.map { .string($0) }), "tags": texts(version.tags),
      "source": .string(version.source), "run_id": .string(version.runID),
      "artifact": trained.map { .string($0.artifact.hex) } ?? .null,
      "created_at": .string(version.createdAt.description),
      "updated_at": .string(version.updatedAt.description),
    ])
  }

  /// The input vector in order.
  static func signature(_ version: ModelVersion) -> JSON {
    .array(
      version.features.enumerated().map { index, feature in
        .object([
          "index": .int(Int64(index)), "name": .string(feature.name),
          "type": .string(feature.type.rawValue),
        ])
      })
  }

  static func transition(_ transition: ModelTransition) -> JSON {
    let words = transition.event.words
    return .object([
      "model": .string(transition.model), "version": .int(transition.version),
      "event": .string(words.event), "detail": .string(words.detail),
      "from": transition.from.map { .string($0.rawValue) } ?? .null,
      "to": .string(transition.to.rawValue), "who": .string(transition.who),
      "why": .string(transition.why), "at": .string(transition.at.description),
    ])
  }

  static func texts(_ texts: [String: String]) -> JSON {
    .object(texts.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
  }
}
