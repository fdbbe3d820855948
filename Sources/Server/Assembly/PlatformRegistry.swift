import Catalog
import Core

/// What the transports of the registry share.
extension PlatformServices {
  /// With the nearest name where there is none of that name.
  func registeredModel(_ name: String) async throws -> RegisteredModel {
    do {
      return try await catalog.registeredModel(name)
    } catch var error as PlatformError where RegistryMissing(error) == .model {
      let known = try await catalog.registeredModels().map(\.name)
      error.message += suggestion(for: name, among: known)
      throw error
    }
  }

  func versionNumber(_ text: String) throws -> Int64 {
    guard let number = Int64(text) else {
      throw PlatformError(.invalidArgument, "a version is a number, not '\(text)'")
    }
    return number
  }

  func stage(_ text: String?) throws -> ModelStage {
    let known = ModelStage.allCases.map(\.rawValue)
    guard let text else {
      throw PlatformError(
        .invalidArgument, "send {\"stage\": …}, one of \(known.joined(separator: ", "))")
    }
    guard let stage = ModelStage(rawValue: text) else {
      throw PlatformError(
        .invalidArgument, "there is no stage '\(text)'\(suggestion(for: text, among: known))")
    }
    return stage
  }
}
