import Core
import EmbeddedBackend
import Foundation
import Testing

@Suite("Directory blob store")
struct BlobStoreTests {
  let scratch: ScratchDirectory
  let store: DirectoryBlobStore

  init() throws {
    scratch = try ScratchDirectory()
    store = try DirectoryBlobStore(root: scratch.file("blobs/deep"))
  }

  @Test func `bytes come back under their SHA-256`() async throws {
    let digest = try await store.put(Array("abc".utf8))
    #expect(
      digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(try await store.get(digest) == Array("abc".utf8))
    #expect(try await store.contains(digest))
    let path = try await store.localPath(of: digest)
    #expect(
      path == scratch.file("blobs/deep/ba/\(digest.hex.dropFirst(2))"))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "abc")
  }

  @Test func `a file gets the digest of its bytes`() async throws {
    let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let path = try scratch.write(Data(bytes), to: "model.pkl")
    let digest = try await store.put(fileAt: path)
    #expect(try await store.put(bytes) == digest)
    #expect(try await store.get(digest) == bytes)
    #expect(try leftovers().isEmpty)
  }

  @Test func `putting the same bytes again leaves the file alone`() async throws {
    let digest = try await store.put([1, 2, 3])
    let path = try await store.localPath(of: digest)
    let inode = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int
    #expect(try await store.put([1, 2, 3]) == digest)
    #expect(
      try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int == inode)
  }

  @Test func `the empty blob is a blob`() async throws {
    let digest = try await store.put([])
    #expect(try await store.get(digest).isEmpty)
  }

  @Test func `a damaged blob is never handed out`() async throws {
    let digest = try await store.put(Array("artifact".utf8))
    let path = try await store.localPath(of: digest)
    try Data("artefact".utf8).write(to: URL(fileURLWithPath: path))
    for read in [
      { _ = try await store.get(digest) }, { _ = try await store.localPath(of: digest) },
    ] as [() async throws -> Void] {
      let error = await #expect(throws: PlatformError.self) { try await read() }
      #expect(error?.code == .storage)
      #expect(error?.message.contains(path) == true)
    }
  }

  @Test func `an unknown digest and a malformed one are told apart`() async throws {
    let unknown = BlobDigest(hex: String(repeating: "0", count: 64))
    #expect(try await !store.contains(unknown))
    #expect(
      await #expect(throws: PlatformError.self) { try await store.get(unknown) }?.code == .notFound)
    for hex in ["../../etc/passwd", "", String(repeating: "G", count: 64)] {
      let error = await #expect(throws: PlatformError.self) {
        try await store.get(BlobDigest(hex: hex))
      }
      #expect(error?.code == .invalidArgument)
    }
    let missing = await #expect(throws: PlatformError.self) {
      try await store.put(fileAt: scratch.file("none"))
    }
    #expect(missing?.code == .notFound)
    #expect(try leftovers().isEmpty)
  }

  @Test func `a removed blob is gone, and removing what is not there does nothing`() async throws {
    let digest = try await store.put(Array("a secret".utf8))
    let other = try await store.put(Array("another".utf8))
    try await store.remove(digest)
    try await store.remove(digest)
    #expect(try await !store.contains(digest))
    #expect(try await store.get(other) == Array("another".utf8))
    #expect(try await store.put(Array("a secret".utf8)) == digest)
    #expect(try await store.contains(digest))
  }

  @Test func `many writers of the same bytes agree`() async throws {
    let bytes = [UInt8](repeating: 7, count: 200_000)
    let digests = try await withThrowingTaskGroup(of: BlobDigest.self) { group in
      for _ in 0..<16 { group.addTask { try await store.put(bytes) } }
      return try await group.reduce(into: Set<BlobDigest>()) { $0.insert($1) }
    }
    #expect(digests.count == 1)
    #expect(try leftovers().isEmpty)
  }

  private func leftovers() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: scratch.file("blobs/deep"))
      .filter { $0.hasPrefix(".") }
  }
}
