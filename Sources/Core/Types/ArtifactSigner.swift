import Crypto
import Foundation

/// Signs what the registry says of a model version, so that nobody who can write to the registry or to the blobs can have a file
/// opened that the platform has not published.
///
/// HMAC-SHA256 (RFC 2104) over the version's model, number, artifact digest, format and features.
package struct ArtifactSigner: Sendable {
  package enum Verdict: String, Sendable {
    case valid, unsigned, wrong
    /// Signed by another key, by the name that is kept with the signature.
    case otherKey = "other_key"
  }

  private static let scheme = "hmac-sha256"
  private static let shortestSecret = 32

  private let key: SymmetricKey
  /// Tells keys apart without telling the key.
  package let keyName: String

  /// - Throws: `invalidConfiguration` for a secret that is too short to be one.
  package init(secret: String, setting: String = "workers.artifact_key") throws {
    let secret = secret.trimmingCharacters(in: .whitespacesAndNewlines)
    guard secret.utf8.count >= Self.shortestSecret else {
      throw PlatformError(
        .invalidConfiguration,
        "\(setting) has \(secret.utf8.count) characters; it must have at least \(Self.shortestSecret): "
          + "openssl rand -hex 32 makes one")
    }
    key = SymmetricKey(data: Data(secret.utf8))
    keyName = String(
      Self.hex(HMAC<SHA256>.authenticationCode(for: Data("martlet key name".utf8), using: key))
        .prefix(8))
  }

  package func signature(of version: ModelVersion) -> String {
    let code = HMAC<SHA256>.authenticationCode(for: Self.statement(of: version), using: key)
    return "\(Self.scheme):\(keyName):\(Self.hex(code))"
  }

  package func verdict(on version: ModelVersion) -> Verdict {
    guard let signature = version.artifactSignature else { return .unsigned }
    let parts = signature.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0] == Self.scheme, let code = Self.bytes(parts[2]) else {
      return .wrong
    }
    guard parts[1] == keyName else { return .otherKey }
    // Compares in a time that does not tell how much was right.
    let isValid = HMAC<SHA256>.isValidAuthenticationCode(
      code, authenticating: Self.statement(of: version), using: key)
    return isValid ? .valid : .wrong
  }

  /// What is signed: every field behind its length, so that no two versions have the same statement.
  private static func statement(of version: ModelVersion) -> Data {
    var fields = [
      "martlet model version 1", version.model, String(version.version), version.artifact.hex,
      version.format,
    ]
    for feature in version.features { fields += [feature.name, feature.type.rawValue] }
    var data = Data()
    for field in fields {
      data.append(contentsOf: "\(field.utf8.count):".utf8)
      data.append(contentsOf: field.utf8)
    }
    return data
  }

  private static func hex(_ code: HMAC<SHA256>.MAC) -> String {
    code.map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0\(text)" : text
    }.joined()
  }

  private static func bytes(_ hex: Substring) -> [UInt8]? {
    let digits = Array(hex.utf8)
    guard digits.count == 2 * SHA256.byteCount else { return nil }
    var bytes: [UInt8] = []
    for place in stride(from: 0, to: digits.count, by: 2) {
      guard let text = String(bytes: digits[place...(place + 1)], encoding: .utf8),
        let byte = UInt8(text, radix: 16)
      else { return nil }
      bytes.append(byte)
    }
    return bytes
  }
}

/// Whether a version's artifact may be opened.
package struct ArtifactTrust: Sendable {
  /// Nil where no key is configured: then every version of the registry is trusted.
  package let signer: ArtifactSigner?

  package init(signer: ArtifactSigner? = nil) { self.signer = signer }

  /// A word for status pages; nil where nothing is checked.
  package func verdict(on version: ModelVersion) -> ArtifactSigner.Verdict? {
    signer?.verdict(on: version)
  }

  /// - Throws: `failedPrecondition` for a version whose signature is missing or wrong.
  package func check(_ version: ModelVersion) throws {
    guard let signer else { return }
    let name = "version \(version.version) of model '\(version.model)'"
    let command = "martlet models sign \(version.model) \(version.version)"
    switch signer.verdict(on: version) {
    case .valid: return
    case .unsigned:
      throw PlatformError(
        .failedPrecondition,
        "\(name) is not signed and is not opened; if it is from before there was a key "
          + "(workers.artifact_key) and you trust the registry as it is, sign it: \(command)",
        context: ["reason": "unsigned"])
    case .otherKey:
      throw PlatformError(
        .failedPrecondition,
        "\(name) was signed with another key than \(signer.keyName) and is not opened; configure the key "
          + "that it was signed with, or, if the key was changed, sign it again: \(command)",
        context: ["reason": "signed_with_another_key"])
    case .wrong:
      throw PlatformError(
        .failedPrecondition,
        "the signature of \(name) is wrong and it is not opened: its record was changed after it was "
          + "signed; find out by whom, and restore a backup or train it again",
        context: ["reason": "wrong_signature"])
    }
  }
}
