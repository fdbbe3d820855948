import Core
import Synchronization

/// A model version as callers of the protocol see it, worked out once.
package final class InferenceSignature: Sendable {
  package let model: ModelDefinition
  package let project: ProjectDefinition
  /// The version that was asked for; nil leaves the choice to the platform.
  package let number: Int64?
  /// The vector of the version that is to answer.
  package let features: [ModelFeature]
  /// Of each feature by its name.
  let positions: [String: Int]
  /// How many columns of a matrix each feature has.
  let widths: [Int]
  /// Columns of a matrix.
  let width: Int
  /// What a row may have beside features: inputs, key columns, and entities for their keys.
  let others: Set<String>

  package init(
    model: ModelDefinition, project: ProjectDefinition, number: Int64? = nil,
    features: [ModelFeature]
  ) {
    self.model = model
    self.project = project
    self.number = number
    self.features = features
    positions = Dictionary(features.enumerated().map { ($1.name, $0) }) { first, _ in first }
    widths = features.map { $0.columnNames.count }
    width = widths.reduce(0, +)
    var others = Set(model.inputs.map(\.name))
    for entity in model.entities {
      others.insert(entity)
      others.formUnion(project.entity(entity)?.key ?? [])
    }
    self.others = others
  }

  // MARK: What tensors are

  /// How the tensors of a request stand for a vector; nil where they do not.
  enum Form {
    /// One for each feature, in the signature's order.
    case inOrder
    /// One for each feature.
    case byName
    /// One of a name that nothing else bears, with all features of a row side by side.
    case matrix
  }

  func form(_ tensors: [Tensor]) -> Form? {
    if tensors.count == features.count,
      zip(tensors, features).allSatisfy({ $0.name == $1.name })
    {
      return .inOrder
    }
    if tensors.count == 1, positions[tensors[0].name] == nil, !others.contains(tensors[0].name) {
      return .matrix
    }
    guard tensors.count >= features.count else { return nil }
    let known = tensors.reduce(0) { $0 + (positions[$1.name] == nil ? 0 : 1) }
    return known == features.count ? .byName : nil
  }
}

/// Signatures by model and version as callers name them: working one out takes longer than a prediction.
final class InferenceSignatures: Sendable {
  /// A stranger's requests must not fill the memory.
  private static let maximum = 1_024

  private struct Key: Hashable {
    var model: String
    var version: String
  }

  private struct Known {
    var edition: Snapshot.Edition
    var signature: InferenceSignature
  }

  private let known = Mutex<[Key: Known]>([:])

  /// - Parameter version: empty leaves the choice to the platform.
  /// - Throws: `not_found` for a model or version that there is not.
  func signature(
    of model: String, _ version: String, in snapshot: Snapshot
  ) throws -> InferenceSignature {
    let key = Key(model: model, version: version)
    if let found = known.withLock({ $0[key] }), found.edition == snapshot.edition {
      return found.signature
    }
    let made = try Self.make(model, version, snapshot)
    known.withLock { known in
      if known.count >= Self.maximum { known.removeAll() }
      known[key] = Known(edition: snapshot.edition, signature: made)
    }
    return made
  }

  /// The vector of the version that is asked for, of the one in production, or as it is defined where there is none yet.
  private static func make(
    _ name: String, _ text: String, _ snapshot: Snapshot
  ) throws -> InferenceSignature {
    guard let model = snapshot.project.model(name) else {
      throw PlatformError(
        .notFound,
        "there is no model '\(name)'"
          + suggestion(for: name, among: snapshot.project.models.map(\.name)))
    }
    let number = try ModelVersionName.number(text, of: name, in: snapshot)
    let version =
      number.flatMap { number in snapshot.models[name]?.first { $0.version == number } }
      ?? snapshot.production(of: name)
    return InferenceSignature(
      model: model, project: snapshot.project, number: number,
      features: version?.features ?? model.features)
  }
}
