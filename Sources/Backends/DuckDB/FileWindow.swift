import Core
import Foundation

/// A moving view of a file: reads ahead in large pieces, holds no more than what is being looked at.
struct FileWindow: ~Copyable {
  private let descriptor: Int32
  private let name: String
  private var buffer: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0
  /// Bytes handed out and passed.
  private(set) var consumed: Int64 = 0
  private(set) var atEnd = false
  let size: Int64

  private static let piece = 1 << 20

  init(path: String, name: String) throws {
    self.name = name
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      let reason = String(cString: strerror(errno))
      throw PlatformError(
        errno == ENOENT ? .notFound : .invalidArgument,
        "The file \(name) cannot be opened: \(reason). Check the path and its rights.")
    }
    var status = stat()
    fstat(descriptor, &status)
    size = Int64(status.st_size)
    buffer = .allocate(byteCount: 2 * Self.piece, alignment: 16)
  }

  deinit {
    close(descriptor)
    buffer.deallocate()
  }

  /// What has been read and not been passed; valid until the next call.
  var bytes: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(
      start: buffer.baseAddress?.assumingMemoryBound(to: UInt8.self).advanced(by: start),
      count: end - start)
  }

  var progress: Double { size > 0 ? min(1, Double(consumed) / Double(size)) : 1 }

  mutating func pass(_ count: Int) {
    start += count
    consumed += Int64(count)
  }

  /// Reads one more piece; the buffer grows where what is in view fills it.
  mutating func readMore() throws {
    if start > 0, let base = buffer.baseAddress {
      base.copyMemory(from: base + start, byteCount: end - start)
      end -= start
      start = 0
    }
    if buffer.count - end < Self.piece {
      let larger = UnsafeMutableRawBufferPointer.allocate(
        byteCount: buffer.count * 2, alignment: 16)
      larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<end]))
      buffer.deallocate()
      buffer = larger
    }
    while true {
      let count = read(descriptor, buffer.baseAddress?.advanced(by: end), Self.piece)
      if count < 0 {
        if errno == EINTR { continue }
        let reason = String(cString: strerror(errno))
        throw PlatformError(
          .storage,
          "The file \(name) cannot be read: \(reason). Check the disk and that it is a file.")
      }
      if count == 0 { atEnd = true }
      end += count
      return
    }
  }

  /// Passes everything up to and with the next line feed, however far, or the rest of the file.
  mutating func passLine() throws {
    while true {
      if let offset = bytes.firstIndex(of: 10) {
        pass(offset + 1)
        return
      }
      pass(bytes.count)
      if atEnd { return }
      try readMore()
    }
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// Whether the bytes are UTF-8; plain ASCII is seen eight bytes at a time.
  var isUTF8: Bool {
    let raw = UnsafeRawBufferPointer(self)
    var offset = 0
    var seen: UInt64 = 0
    while offset + 8 <= count {
      seen |= raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      offset += 8
    }
    var rest: UInt8 = 0
    while offset < count {
      rest |= self[offset]
      offset += 1
    }
    if seen & 0x8080_8080_8080_8080 == 0 && rest < 0x80 { return true }
    return String(validating: self, as: UTF8.self) != nil
  }

  /// What quarantine keeps of a line: its text, and the bytes where the text had to be repaired.
  var quarantined: (text: String, raw: [UInt8]?) {
    let line = UnsafeBufferPointer(rebasing: prefix(Limits.lineBytes))
    return (String(decoding: line, as: UTF8.self), line.isUTF8 ? nil : Array(line))
  }
}
