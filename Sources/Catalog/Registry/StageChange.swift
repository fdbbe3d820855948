import Core

/// What moving one version to another stage changes: the versions of a model before, and the moves after which the registry's rules hold.
///
/// The rules: at most one version is in production and one is the canary; a version that takes the place of another archives it; the
/// version in production of a model that is served leaves only for another; only what the platform trained serves.
package struct StageChange: Sendable {
  /// One version as the rules see it.
  package struct Version: Sendable, Equatable {
    package var number: Int64
    package var stage: ModelStage
    /// False for a version that was registered from elsewhere.
    package var isTrained: Bool

    package init(_ number: Int64, _ stage: ModelStage, isTrained: Bool = true) {
      self.number = number
      self.stage = stage
      self.isTrained = isTrained
    }
  }

  package struct Move: Sendable, Equatable {
    package var version: Int64
    package var from: ModelStage
    package var to: ModelStage
    package var why: String

    package init(_ version: Int64, _ from: ModelStage, _ to: ModelStage, why: String) {
      self.version = version
      self.from = from
      self.to = to
      self.why = why
    }
  }

  package var model: String
  /// Whether a definition of the model is in force, so that it is served.
  package var isDefined: Bool
  /// All of the model.
  package var versions: [Version]

  package init(model: String, isDefined: Bool, versions: [Version]) {
    self.model = model
    self.isDefined = isDefined
    self.versions = versions
  }

  /// The moves in the order in which they are to be made; none where the version is in that stage already.
  package func moves(
    of target: Version, to stage: ModelStage, why: String
  ) throws(PlatformError) -> [Move] {
    if target.stage == stage { return [] }
    try checkMayLeave(target)
    if stage.isServing { try checkMayServe(target) }
    let move = Move(target.number, target.stage, stage, why: why)
    guard stage == .production || stage == .canary else { return [move] }
    let verb = stage == .production ? "was promoted" : "became the canary"
    let others = versions.filter { $0.stage == stage && $0.number != target.number }
    return others.map {
      Move($0.number, stage, .archived, why: "version \(target.number) \(verb): \(why)")
    } + [move]
  }

  /// Nothing would answer in the place of a production version that leaves without another.
  private func checkMayLeave(_ target: Version) throws(PlatformError) {
    guard target.stage == .production, target.isTrained, isDefined else { return }
    let other = versions.sorted { $0.number > $1.number }
      .first { $0.isTrained && $0.stage != .archived && $0.number != target.number }
    let next =
      other.map { "martlet models promote \(model) \($0.number)" } ?? "martlet train \(model)"
    throw PlatformError(
      .failedPrecondition,
      "version \(target.number) of model '\(model)' is in production and cannot be archived; "
        + "promote another one, which archives it (\(next)), or remove the model from martlet.yaml")
  }

  private func checkMayServe(_ target: Version) throws(PlatformError) {
    let name = "version \(target.number) of model '\(model)'"
    if target.isTrained, !isDefined {
      throw PlatformError(
        .failedPrecondition,
        "\(name) cannot serve: the model is not in the definitions; add it to martlet.yaml and apply"
      )
    }
    if !target.isTrained, isDefined {
      throw PlatformError(
        .failedPrecondition,
        "\(name) cannot serve: it was registered from elsewhere and its artifact is not in Martlet; "
          + "train one with `martlet train \(model)`")
    }
  }
}

extension ModelStage {
  /// Whether versions in it answer requests of a model that is served.
  package var isServing: Bool {
    switch self {
    case .production, .canary, .shadow: true
    case .registered, .staging, .archived: false
    }
  }
}
