/// The SHA-256 of a blob's bytes, in lower-case hexadecimal; its address.
package struct BlobDigest: Hashable, Sendable, Codable, CustomStringConvertible {
  package var hex: String

  package init(hex: String) { self.hex = hex }

  package var description: String { hex }
}

/// Artifacts and baselines by content: the same bytes are stored once and never change.
///
/// Guarantees: after `put` returns the blob is durable; a blob is either wholly there or not at all.
package protocol BlobStore: Sendable {
  func put(_ bytes: [UInt8]) async throws -> BlobDigest
  func put(fileAt path: String) async throws -> BlobDigest
  func get(_ digest: BlobDigest) async throws -> [UInt8]
  /// A local path to read the blob from, its bytes verified against the digest.
  func localPath(of digest: BlobDigest) async throws -> String
  func contains(_ digest: BlobDigest) async throws -> Bool
  /// Removes a blob for good; nothing happens where it is not there. Whoever removes knows that nothing refers to it.
  func remove(_ digest: BlobDigest) async throws
}
