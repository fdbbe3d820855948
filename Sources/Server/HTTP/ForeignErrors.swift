import Core

/// Errors as the clients of other protocols read them.
enum ForeignErrors {
  /// Nil where the path belongs to the platform's own API.
  static func body(_ error: PlatformError, at path: String) -> JSON? {
    if path == "/v2" || path.hasPrefix("/v2/") {
      return .object(["error": .string(error.description)])
    }
    if path == "/invocations" {
      return .object([
        "error_code": .string(error.code.rawValue.uppercased()),
        "message": .string(error.description),
      ])
    }
    return nil
  }
}
