import Core
import Foundation
import Logging

/// Looks at every canary whose model has a rollout rule, and promotes it or rolls it back when the rule is decided.
package final class RolloutWatch: Sendable {
  /// What the watch needs of the log and of the registry; the composition root fills it in.
  package struct Ends: Sendable {
    /// What was counted of a model's canary and production since the canary began.
    package var read:
      @Sendable (ModelDefinition, _ canary: CanaryState, _ production: ModelVersion) async throws ->
        RolloutEvidence
    /// Carries a verdict out; false where somebody else has decided.
    package var settle:
      @Sendable (RolloutVerdict, _ model: String, _ version: Int64, _ evidence: String) async throws
        -> Bool

    package init(
      read:
        @escaping @Sendable (ModelDefinition, CanaryState, ModelVersion) async throws ->
        RolloutEvidence,
      settle: @escaping @Sendable (RolloutVerdict, String, Int64, String) async throws -> Bool
    ) {
      self.read = read
      self.settle = settle
    }
  }

  /// How a canary stands.
  package struct Standing: Sendable, Codable {
    package var evidence: RolloutEvidence
    package var verdict: RolloutVerdict
  }

  private let snapshot: Published<Snapshot>
  private let ends: Ends
  private let log: Logger

  package init(
    snapshot: Published<Snapshot>, ends: Ends, log: Logger = Logger(label: "martlet.rollout")
  ) {
    self.snapshot = snapshot
    self.ends = ends
    self.log = log
  }

  /// One round; a model that fails does not stop the others.
  package func tick() async {
    for model in snapshot.current.project.models where model.rollout != nil {
      do {
        try await settle(model)
      } catch {
        if Task.isCancelled { return }
        log.error(
          "a canary cannot be judged", metadata: ["model": "\(model.name)", "error": "\(error)"])
      }
    }
  }

  /// How the canary of a model stands; nil where none runs, or the model has no rule.
  package func standing(of model: ModelDefinition) async throws -> Standing? {
    let snapshot = snapshot.current
    guard let rollout = model.rollout, let canary = snapshot.canaries[model.name],
      let production = snapshot.production(of: model.name)
    else { return nil }
    let evidence = try await ends.read(model, canary, production)
    var machine = RolloutStateMachine(rollout.after)
    return Standing(evidence: evidence, verdict: machine.observe(evidence))
  }

  private func settle(_ model: ModelDefinition) async throws {
    guard let standing = try await standing(of: model), standing.verdict.outcome != .wait else {
      return
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let evidence = String(decoding: try encoder.encode(standing), as: UTF8.self)
    let version = standing.evidence.canary.version
    if try await ends.settle(standing.verdict, model.name, version, evidence) {
      log.notice(
        standing.verdict.outcome == .promote
          ? "a canary was promoted" : "a canary was rolled back",
        metadata: [
          "model": "\(model.name)", "version": "\(version)", "why": "\(standing.verdict.why)",
        ])
    }
  }
}
