import Catalog
import Core
import Logging

extension Configuration {
  /// The catalog, which signs what is published, and which of its versions are opened.
  func openCatalog(
    in folder: String, _ clock: any WallClock, _ log: Logger
  ) throws -> (CatalogStore, ArtifactTrust) {
    let trust = try artifactTrust(log)
    let catalog = try CatalogStore(
      path: folder + "/catalog.sqlite", clock: clock, deployAlias: registry.deployAlias,
      signer: trust.signer, log: log)
    return (catalog, trust)
  }

  /// Warns once where every artifact is opened.
  private func artifactTrust(_ log: Logger) throws -> ArtifactTrust {
    guard let key = workers.artifactKey else {
      if roles.contains(.serving) {
        log.warning(
          "models are opened as the registry and the blobs have them: without a key nobody can tell whether they were changed; make one (openssl rand -hex 32), name its file in workers.artifact_key_file, and sign what there is (martlet models sign MODEL)"
        )
      }
      return ArtifactTrust()
    }
    return ArtifactTrust(signer: try ArtifactSigner(secret: key.value))
  }
}

extension PlatformServices {
  /// Signs a version as it is in the registry now.
  func sign(_ version: ModelVersion, who: String, why: String) async throws -> ModelVersion {
    guard let signer = trust.signer else {
      throw PlatformError(
        .failedPrecondition,
        "there is no key to sign with; make one (openssl rand -hex 32) and name its file in workers.artifact_key_file"
      )
    }
    return try await catalog.sign(
      model: version.model, version: version.version, with: signer, who: who, why: why)
  }

  /// A word for the signature of a version: `valid`, `unsigned`, `other_key`, `wrong`, or `unchecked` without a key.
  func signature(of version: ModelVersion) -> String {
    trust.verdict(on: version)?.rawValue ?? "unchecked"
  }
}
