import Catalog
import Core
import Foundation
import Hummingbird

/// The files of trained versions as MLflow's artifact proxy would have them, so that `models:/churn@champion` can be downloaded.
///
/// A version is the folder `models/NAME/VERSION` with the model and its baseline. Nothing can be uploaded.
struct MLflowArtifacts {
  static let prefix = "/api/2.0/mlflow-artifacts"

  let services: PlatformServices

  func add(to router: Router<HTTPRouter.Context>) {
    let group = router.group("\(Self.prefix)/artifacts")
    group.get { request, _ in
      do {
        return JSONResponse.ok(try await list(try await MLflowCall(request).text("path")))
      } catch {
        return MLflowError(error).response
      }
    }
    group.get("models/:name/:version/:file") { _, context in
      do {
        let path = "models/\(try context.name("name"))/\(try context.name("version"))"
        guard let folder = try await folder(path),
          let file = folder.first(where: { $0.name == (try? context.name("file")) })
        else { throw Self.nothing(at: path) }
        let local = try await services.blobs.localPath(of: file.digest)
        return try FileResponse.make(path: local, contentType: "application/octet-stream")
      } catch {
        return MLflowError(error).response
      }
    }
  }

  private struct File {
    var name: String
    var digest: BlobDigest
  }

  /// What is in a folder; a file has nothing in it.
  private func list(_ path: String) async throws -> JSON {
    var entries: [JSON] = []
    for file in try await folder(path) ?? [] {
      let local = try await services.blobs.localPath(of: file.digest)
      let size = try FileManager.default.attributesOfItem(atPath: local)[.size] as? Int64
      entries.append(
        .object([
          "path": .string(file.name), "is_dir": .bool(false), "file_size": .int(size ?? 0),
        ]))
    }
    return .object(["files": .array(entries)])
  }

  /// Nil where the path is that of no trained version.
  private func folder(_ path: String) async throws -> [File]? {
    let parts = path.split(separator: "/").map(String.init)
    guard parts.count == 3, parts[0] == "models", let number = Int64(parts[2]) else { return nil }
    do {
      let version = try await services.catalog.registeredVersion(parts[1], number)
      guard let trained = version.trained else { return nil }
      let ending = trained.format == "pickle" ? "pkl" : trained.format
      return [
        File(name: "model.\(ending)", digest: trained.artifact),
        File(name: "baseline", digest: trained.baseline),
      ]
    } catch let error as PlatformError where RegistryMissing(error) != nil {
      throw Self.nothing(at: path)
    }
  }

  private static func nothing(at path: String) -> MLflowError {
    MLflowError(code: .resourceDoesNotExist, message: "there is no artifact at '\(path)'")
  }
}
