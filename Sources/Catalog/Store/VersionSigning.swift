import Core
import Foundation
import GRDB

extension CatalogStore {
  /// Signs a version as the registry has it now; one that has a valid signature stays as it is.
  ///
  /// - Throws: `failedPrecondition` for a version whose record was changed after it was signed with this key.
  package func sign(
    model: String, version: Int64, with signer: ArtifactSigner, who: String, why: String
  ) async throws -> ModelVersion {
    let now = clock.now
    _ = try await changing("the version cannot be signed") { db in
      var target = try ModelVersionRecord.find(db, model: model, version: version)
      switch signer.verdict(on: target) {
      case .valid: return false
      case .wrong: try ArtifactTrust(signer: signer).check(target)
      case .unsigned, .otherKey: break
      }
      target.artifactSignature = signer.signature(of: target)
      try ModelVersionRecord.replace(db, target)
      try ModelVersionRecord.audit(
        db,
        ModelTransition(
          model: model, version: version, from: target.stage, to: target.stage, who: who,
          why: why.isEmpty ? "signed with key \(signer.keyName)" : why, at: now))
      return true
    }
    return try await reading("the catalog cannot be read") { db in
      try ModelVersionRecord.find(db, model: model, version: version)
    }
  }
}

extension ModelVersionRecord {
  /// Writes the record of a version anew; stage and number stay.
  static func replace(_ db: Database, _ version: ModelVersion) throws {
    let record = try JSONEncoder().encode(version)
    try db.execute(
      sql: "UPDATE model_versions SET record = ? WHERE model = ? AND version = ?",
      arguments: [String(decoding: record, as: UTF8.self), version.model, version.version])
  }
}
