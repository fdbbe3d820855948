import Core
import Crypto
import Dispatch
import Foundation

/// Blobs as files of a directory: `<root>/ab/cdef…`, named by the SHA-256 of their bytes.
///
/// Guarantees: a blob is written to a temporary file, synced, renamed into place and its folder synced, so that after a crash it is wholly there or
/// not at all; bytes are checked against their digest at every `get` and `localPath`. Several processes may share a directory.
package final class DirectoryBlobStore: BlobStore {
  private let root: String
  /// Blocking file calls stay off the cooperative pool.
  private let queue = DispatchQueue(label: "blobs", attributes: .concurrent)

  /// Makes the directory where it is missing.
  package init(root: String) throws {
    self.root = root
    try Self.makeDirectory(root)
  }

  package func put(_ bytes: [UInt8]) async throws -> BlobDigest {
    try await blocking { [self] in
      let digest = BlobDigest(hex: Self.hex(SHA256.hash(data: bytes)))
      try store(digest) { file in try Self.write(bytes, to: file.descriptor, file.path) }
      return digest
    }
  }

  package func put(fileAt path: String) async throws -> BlobDigest {
    try await blocking { [self] in
      // The file is copied first and hashed on the way: what is stored is what was hashed, even if the file changes meanwhile.
      let temporary = try TemporaryFile(in: root)
      defer { temporary.discard() }
      let digest = try Self.copy(path, to: temporary)
      try place(temporary, as: digest)
      return digest
    }
  }

  package func get(_ digest: BlobDigest) async throws -> [UInt8] {
    try await blocking { [self] in
      let path = try path(of: digest)
      guard let data = FileManager.default.contents(atPath: path) else { throw missing(digest) }
      let bytes = [UInt8](data)
      try Self.verify(Self.hex(SHA256.hash(data: bytes)), is: digest, at: path)
      return bytes
    }
  }

  package func localPath(of digest: BlobDigest) async throws -> String {
    try await blocking { [self] in
      let path = try path(of: digest)
      guard FileManager.default.fileExists(atPath: path) else { throw missing(digest) }
      try Self.verify(Self.hash(fileAt: path), is: digest, at: path)
      return path
    }
  }

  package func contains(_ digest: BlobDigest) async throws -> Bool {
    try await blocking { [self] in FileManager.default.fileExists(atPath: try path(of: digest)) }
  }

  package func remove(_ digest: BlobDigest) async throws {
    try await blocking { [self] in
      let path = try path(of: digest)
      guard unlink(path) != 0 else {
        return try Self.sync(directory: "\(root)/\(digest.hex.prefix(2))")
      }
      if errno != ENOENT { throw Self.failure("removed", path) }
    }
  }

  // MARK: - Files

  private func path(of digest: BlobDigest) throws -> String {
    guard digest.hex.utf8.count == 64,
      digest.hex.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
    else {
      throw PlatformError(
        .invalidArgument,
        "'\(digest.hex.prefix(80))' is not the address of a blob: 64 hexadecimal digits in lower case are expected."
      )
    }
    return "\(root)/\(digest.hex.prefix(2))/\(digest.hex.dropFirst(2))"
  }

  private func missing(_ digest: BlobDigest) -> PlatformError {
    PlatformError(
      .notFound, "Blob \(digest.hex) is not in \(root); it was never stored there or was deleted.")
  }

  private static func verify(_ found: String, is digest: BlobDigest, at path: String) throws {
    guard found == digest.hex else {
      throw PlatformError(
        .storage,
        "The blob file \(path) is damaged: its bytes do not have the digest in its name. Restore it from a backup, "
          + "or delete it and publish again.")
    }
  }

  private func store(_ digest: BlobDigest, _ write: (TemporaryFile) throws -> Void) throws {
    if FileManager.default.fileExists(atPath: try path(of: digest)) { return }
    let temporary = try TemporaryFile(in: root)
    defer { temporary.discard() }
    try write(temporary)
    try place(temporary, as: digest)
  }

  private func place(_ temporary: TemporaryFile, as digest: BlobDigest) throws {
    let path = try path(of: digest)
    if FileManager.default.fileExists(atPath: path) { return }
    guard fsync(temporary.descriptor) == 0 else {
      throw Self.failure("synced", temporary.path)
    }
    let folder = "\(root)/\(digest.hex.prefix(2))"
    try Self.makeDirectory(folder)
    guard rename(temporary.path, path) == 0 else { throw Self.failure("put in place", path) }
    try Self.sync(directory: folder)
    try Self.sync(directory: root)
  }

  private static func copy(_ path: String, to file: TemporaryFile) throws -> BlobDigest {
    var hash = SHA256()
    try readChunks(of: path) { chunk in
      hash.update(bufferPointer: chunk)
      try write(chunk, to: file.descriptor, file.path)
    }
    return BlobDigest(hex: hex(hash.finalize()))
  }

  private static func hash(fileAt path: String) throws -> String {
    var hash = SHA256()
    try readChunks(of: path) { hash.update(bufferPointer: $0) }
    return hex(hash.finalize())
  }

  private static func readChunks(
    of path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
  )
    throws
  {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("opened", path) }
    defer { close(descriptor) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = read(descriptor, buffer.baseAddress, buffer.count)
      if count == 0 { return }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("read", path)
      }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws {
    try bytes.withUnsafeBytes { try write($0, to: descriptor, path) }
  }

  private static func write(
    _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String
  ) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest)
      let count = Foundation.write(descriptor, part.baseAddress, part.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("written", path)
      }
      rest = rest.dropFirst(count)
    }
  }

  private static func makeDirectory(_ path: String) throws {
    if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw PlatformError(
        .storage, "The blob directory \(path) cannot be made; check its parent and its rights.",
        cause: error)
    }
  }

  /// A rename is durable only once its folder is.
  private static func sync(directory: String) throws {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("opened", directory) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("synced", directory) }
  }

  fileprivate static func failure(_ action: String, _ path: String) -> PlatformError {
    let reason = String(cString: strerror(errno))
    if errno == ENOENT {
      return PlatformError(.notFound, "The file \(path) cannot be \(action): it does not exist.")
    }
    let advice =
      errno == ENOSPC || errno == EDQUOT || errno == EFBIG
      ? "The disk is full: free space and retry." : "Check the disk and the rights of the folder."
    return PlatformError(.storage, "The file \(path) cannot be \(action): \(reason). \(advice)")
  }

  private static func hex(_ digest: SHA256.Digest) -> String {
    digest.map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
  }

  private func blocking<Output: Sendable>(
    _ body: @escaping @Sendable () throws -> Output
  ) async throws -> Output {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result(catching: body)) }
    }
  }
}

/// A file on its way to becoming a blob; gone unless it was renamed.
private struct TemporaryFile {
  let path: String
  let descriptor: Int32

  init(in root: String) throws {
    path = "\(root)/.writing-\(UUID().uuidString)"
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw DirectoryBlobStore.failure("created", path) }
  }

  func discard() {
    close(descriptor)
    unlink(path)
  }
}
