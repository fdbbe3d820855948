import Core
import Crypto
import Dispatch
import Foundation

// The file: a magic of 8 bytes, then blocks. A block is its kind (1 byte), the length of its payload (4 bytes), the first
// 8 bytes of the SHA-256 of kind and payload, and the payload. The blocks are: one `position`; per view one `view`, any
// number of `states`, one `viewEnd`; one `fileEnd`. All of it little-endian.

private let magic: [UInt8] = Array("MRTLONL2".utf8)
private let blockHeaderBytes = 13
private let blockBytes = 1 << 20

private enum BlockKind: UInt8 {
  case position = 1
  case view, states, viewEnd, fileEnd
}

private func checksum(_ kind: UInt8, _ payload: UnsafeRawBufferPointer) -> UInt64 {
  var hash = SHA256()
  withUnsafeBytes(of: kind) { hash.update(bufferPointer: $0) }
  hash.update(bufferPointer: payload)
  return hash.finalize().withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
}

// MARK: Writing

/// States of one moment; writing them holds no lock and at most two blocks of bytes.
struct MemoryCapture: CapturedOnlineState {
  let views: [(layout: ViewLayout, tables: [MemoryTable])]
  let position: [String: Int64]
  let disk: DispatchQueue

  func write(to path: String) async throws {
    let failure: PlatformError? = await disk.run {
      do {
        try writeFile(to: path)
        return nil
      } catch let error as PlatformError {
        return error
      } catch {
        return PlatformError(.storage, "cannot write the online snapshot \(path)", cause: error)
      }
    }
    if let failure { throw failure }
  }

  private func writeFile(to path: String) throws {
    let file = try SnapshotOutput(path)
    do {
      try writeBlocks(to: file)
      try file.commit()
    } catch {
      file.discard()
      throw error
    }
  }

  private func writeBlocks(to file: SnapshotOutput) throws {
    try file.write(magic)
    var block = MemoryEncoder()
    block.write(UInt32(position.count))
    for (source, sequence) in position {
      block.write(source)
      block.write(sequence)
    }
    try file.write(&block, as: .position)
    for (layout, tables) in views {
      let keys = tables.reduce(0) { $0 + $1.count }
      block.write(layout.view)
      block.write(layout.stateDigest)
      block.write(UInt64(keys))
      try file.write(&block, as: .view)
      for table in tables {
        for (key, place) in table.positions {
          block.write(key)
          block.write(table.states[Int(place)])
          if block.bytes.count >= blockBytes { try file.write(&block, as: .states) }
        }
      }
      if !block.bytes.isEmpty { try file.write(&block, as: .states) }
      block.write(UInt64(keys))
      try file.write(&block, as: .viewEnd)
    }
    try file.write(&block, as: .fileEnd)
  }
}

/// A file under a temporary name that takes its place when it is whole.
private final class SnapshotOutput {
  private let path: String
  private let temporary: String
  private var descriptor: Int32

  init(_ path: String) throws {
    self.path = path
    temporary = path + ".tmp"
    descriptor = -1
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("create") }
  }

  func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let written = Foundation.write(
          descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if written < 0 {
          if errno == EINTR { continue }
          throw failure("write")
        }
        rest = rest.dropFirst(written)
      }
    }
  }

  /// Writes one block and empties the encoder, which keeps its memory.
  func write(_ block: inout MemoryEncoder, as kind: BlockKind) throws {
    var header = MemoryEncoder()
    header.write(kind.rawValue)
    header.write(UInt32(block.bytes.count))
    header.write(block.bytes.withUnsafeBytes { checksum(kind.rawValue, $0) })
    try write(header.bytes)
    try write(block.bytes)
    block.bytes.removeAll(keepingCapacity: true)
  }

  func commit() throws {
    guard fsync(descriptor) == 0 else { throw failure("sync") }
    close(descriptor)
    descriptor = -1
    guard rename(temporary, path) == 0 else { throw failure("rename") }
    // Without this the rename itself may be lost with the power.
    let directory = open(
      URL(fileURLWithPath: path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    guard directory >= 0 else { throw failure("open the folder of") }
    defer { close(directory) }
    guard fsync(directory) == 0 else { throw failure("sync the folder of") }
  }

  func discard() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    unlink(temporary)
  }

  private func failure(_ verb: String) -> PlatformError {
    PlatformError(
      .storage,
      "cannot \(verb) the online snapshot \(path): \(String(cString: strerror(errno))); nothing is lost, but the next start takes longer",
      context: ["path": path])
  }
}

// MARK: Reading

/// What a file holds of one view.
struct RestoredView: Sendable {
  var layout: ViewLayout
  var tables: [MemoryTable]
  /// The last sequence of its source that is in it.
  var position: Int64
}

/// Reads a snapshot view by view; what is damaged, cut short or of another layout is left out.
struct MemorySnapshotReader {
  private var file: SnapshotInput
  private let wanted: [String: ViewLayout]
  private var position: [String: Int64] = [:]
  private var restored: [String: RestoredView] = [:]

  /// - Parameter wanted: the layouts by view; others are passed over.
  static func read(_ path: String, wanted: [String: ViewLayout]) -> [String: RestoredView] {
    guard !wanted.isEmpty, let file = SnapshotInput(path) else { return [:] }
    var reader = MemorySnapshotReader(file: file, wanted: wanted)
    reader.readBlocks()
    return reader.restored
  }

  private init(file: SnapshotInput, wanted: [String: ViewLayout]) {
    self.file = file
    self.wanted = wanted
  }

  private mutating func readBlocks() {
    guard file.readMagic(), case .position? = file.nextBlock(), readPosition() else { return }
    while case .view? = file.nextBlock() {
      guard let view = readViewHeader() else {
        guard skipView() else { return }
        continue
      }
      switch readStates(of: view.layout, keys: view.keys) {
      case .whole(let tables):
        restored[view.layout.view] = RestoredView(
          layout: view.layout, tables: tables, position: position[view.layout.source] ?? 0)
      case .damaged: guard skipView() else { return }
      case .cutShort: return
      }
    }
  }

  private mutating func readPosition() -> Bool {
    file.withBlock { block throws(MemoryDecodingError) in
      var found: [String: Int64] = [:]
      for _ in 0..<(try block.number(UInt32.self)) {
        found[try block.text()] = try block.number(Int64.self)
      }
      return found
    }.map { position = $0 } != nil
  }

  /// Nil where the view is not wanted or its layout is another.
  private mutating func readViewHeader() -> (layout: ViewLayout, keys: Int)? {
    let header = file.withBlock { block throws(MemoryDecodingError) in
      (name: try block.text(), digest: try block.text(), keys: try block.number(UInt64.self))
    }
    guard let header, let layout = wanted[header.name], layout.stateDigest == header.digest,
      // Every key takes more than 8 bytes: a larger number is no count of keys.
      header.keys < UInt64(file.size / 8 + 1), restored[header.name] == nil
    else { return nil }
    return (layout, Int(header.keys))
  }

  private enum States {
    case whole([MemoryTable])
    /// The view cannot be used; the next may be.
    case damaged
    case cutShort
  }

  private mutating func readStates(of layout: ViewLayout, keys: Int) -> States {
    var tables = (0..<MemoryView.shards).map { _ in MemoryTable() }
    for shard in tables.indices { tables[shard].reserve(keys / MemoryView.shards * 17 / 16) }
    let blank = EntityState(layout: layout)
    while let kind = file.nextBlock() {
      switch kind {
      case .states:
        let isWhole: Void? = file.withBlock { block throws(MemoryDecodingError) in
          while !block.isAtEnd {
            let key = try block.key(layout)
            let state = try block.state(layout, blank: blank)
            guard tables[MemoryView.shard(of: key)].insert(state, for: key) else {
              throw MemoryDecodingError()
            }
          }
        }
        guard isWhole != nil else { return .damaged }
      case .viewEnd:
        let count = file.withBlock { block throws(MemoryDecodingError) in
          try block.number(UInt64.self)
        }
        guard count == UInt64(tables.reduce(0) { $0 + $1.count }) else { return .cutShort }
        return .whole(tables)
      case .position, .view, .fileEnd: return .cutShort
      }
    }
    return .cutShort
  }

  /// Passes over the rest of a view; false where the file ends before it does.
  private mutating func skipView() -> Bool {
    while let kind = file.nextBlock() {
      if kind == .viewEnd { return true }
      guard kind == .states else { return false }
    }
    return false
  }
}

/// The blocks of a file, one in memory at a time.
private final class SnapshotInput {
  let size: Int
  private let descriptor: Int32
  private var offset = 0
  private var payload: [UInt8] = []
  private var isIntact = false

  init?(_ path: String) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    var status = stat()
    size = fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
  }

  deinit { close(descriptor) }

  func readMagic() -> Bool { read(magic.count) && payload == magic }

  /// The kind of the next block; nil where the file does not go on with a block. Its payload may still be damaged.
  func nextBlock() -> BlockKind? {
    guard read(blockHeaderBytes) else { return nil }
    let header = payload.withUnsafeBytes { bytes in
      (
        kind: bytes[0],
        length: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)),
        checksum: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt64.self))
      )
    }
    guard let kind = BlockKind(rawValue: header.kind), read(Int(header.length)) else { return nil }
    isIntact = payload.withUnsafeBytes { checksum(header.kind, $0) } == header.checksum
    return kind
  }

  /// Decodes the block that `nextBlock` came to; nil where it is damaged.
  func withBlock<Result>(
    _ body: (inout MemoryDecoder) throws(MemoryDecodingError) -> Result
  ) -> Result? {
    guard isIntact else { return nil }
    return payload.withUnsafeBytes { bytes in
      var decoder = MemoryDecoder(bytes)
      return try? body(&decoder)
    }
  }

  private func read(_ count: Int) -> Bool {
    guard count <= size - offset else { return false }
    if payload.count > count {
      payload.removeLast(payload.count - count)
    } else {
      payload.append(contentsOf: repeatElement(0, count: count - payload.count))
    }
    return payload.withUnsafeMutableBytes { bytes in
      var filled = 0
      while filled < count {
        let got = Foundation.read(
          descriptor, bytes.baseAddress?.advanced(by: filled), count - filled)
        if got < 0, errno == EINTR { continue }
        guard got > 0 else { return false }
        filled += got
      }
      offset += count
      return true
    }
  }
}
