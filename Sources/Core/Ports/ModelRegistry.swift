/// Models and their versions, as rooms other than the catalog see them.
///
/// Guarantees: `publish` and `promote` are transactions; a version that was published by a job is published once, however often
/// the job is run again; there is at most one production version of a model.
package protocol ModelRegistry: Sendable {
  func publish(_ version: NewModelVersion) async throws -> ModelVersion
  /// Makes a version production and archives the one that was; `who` and `why` are kept with the transition.
  func promote(model: String, version: Int64, who: String, why: String) async throws -> ModelVersion
  /// Gives a version a share of the keys: nil takes the model's rollout rule, else a tenth.
  func startCanary(
    model: String, version: Int64, share: Double?, who: String, why: String
  ) async throws -> ModelVersion
  func versions(of model: String) async throws -> [ModelVersion]
}
