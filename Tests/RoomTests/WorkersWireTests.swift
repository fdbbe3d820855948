import Core
import Foundation
import NIOCore
import SwiftProtobuf
import Testing
import Wire
import Workers

@Suite("Worker frames")
struct WorkersWireTests {
  private static let folder = "\(PythonWorkers.repository)/python/tests/golden"

  struct Golden: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    /// Protobuf's JSON mapping of the frame.
    var json: Data

    var testDescription: String { name }
  }

  static let golden: [Golden] = {
    guard let manifest = FileManager.default.contents(atPath: "\(folder)/manifest.json"),
      let parsed = try? JSONSerialization.jsonObject(with: manifest) as? [String: Any],
      let frames = parsed["frames"] as? [[String: Any]]
    else { return [] }
    return frames.compactMap { frame in
      guard let name = frame["file"] as? String, let value = frame["frame"],
        let bytes = FileManager.default.contents(atPath: "\(folder)/\(name)"),
        let json = try? JSONSerialization.data(withJSONObject: value)
      else { return nil }
      return Golden(name: name, bytes: Array(bytes), json: json)
    }
  }()

  @Test("there are golden frames of all kinds")
  func complete() throws {
    #expect(Self.golden.count >= 15)
  }

  @Test(
    "a golden frame reads as its manifest says, and is written back to the same bytes",
    arguments: golden)
  func agrees(frame: Golden) throws {
    var buffer = ByteBuffer(bytes: frame.bytes)
    let read = try #require(try WorkerFrames.decode(from: &buffer, limit: 1 << 20))
    #expect(buffer.readableBytes == 0)
    #expect(try read == Martlet_Worker_V1_Frame(jsonUTF8Data: frame.json))
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    let payload: [UInt8] = try read.serializedBytes(options: options)
    #expect(payload == Array(frame.bytes.dropFirst(4)))
  }

  @Test("the columns of a golden task survive the way into columns and back")
  func columnsRoundTrip() throws {
    let task = try #require(Self.golden.first { $0.name == "task_predict.bin" })
    var buffer = ByteBuffer(bytes: task.bytes)
    let frame = try #require(try WorkerFrames.decode(from: &buffer, limit: 1 << 20))
    let message = frame.task.predict.rows
    let batch = try WorkerColumns.unpacked(message)
    #expect(batch.count == 3)
    #expect(batch["returning"]?.values == .bool([true, false, true]))
    #expect(batch["orders"]?[0] == .int64(-1))
    #expect(batch["orders"]?[2] == .null)
    #expect(batch["city"]?[0] == .string("Zürich"))
    #expect(batch["city"]?[2] == .string("東京 🗼"))
    #expect(batch["note"]?.presence == [0, 0, 1])
    #expect(batch["embedding"]?.type == .array(of: .double, length: 2))
    #expect(batch["embedding"]?[1] == .list(.double([2, 1e-300])))
    #expect(batch["embedding"]?[2] == .null)
    #expect(batch["tags"]?.type == .array(of: .string, length: nil))
    #expect(batch["tags"]?[0] == .list(.string(["a", "Zürich"])))
    #expect(batch["tags"]?[1] == .list(.string([])))
    #expect(batch["tags"]?.presence == [0, 0, 1])
    #expect(try WorkerColumns.packed(batch) == message)
  }

  @Test("a frame that comes in pieces is read when it is whole, and one that is too long never")
  func pieces() throws {
    let bytes = try #require(Self.golden.first).bytes
    var buffer = ByteBuffer()
    for byte in bytes.dropLast() {
      buffer.writeInteger(byte)
      #expect(try WorkerFrames.decode(from: &buffer, limit: 1 << 20) == nil)
    }
    buffer.writeInteger(bytes[bytes.count - 1])
    #expect(try WorkerFrames.decode(from: &buffer, limit: 1 << 20) != nil)
    for length: [UInt8] in [[0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [11, 0, 0, 0]] {
      var wrong = ByteBuffer(bytes: length + [1])
      #expect(throws: PlatformError.self) { try WorkerFrames.decode(from: &wrong, limit: 10) }
    }
  }

  @Test("buffers of a wrong size, type or offset are refused")
  func malformed() throws {
    func column(
      _ type: Martlet_Worker_V1_Column.TypeEnum, _ values: [UInt8], _ validity: [UInt8] = []
    ) -> Martlet_Worker_V1_Columns {
      var column = Martlet_Worker_V1_Column()
      column.name = "c"
      column.type = type
      column.values = Data(values)
      column.validity = Data(validity)
      var columns = Martlet_Worker_V1_Columns()
      columns.rows = 2
      columns.columns = [column]
      return columns
    }
    let wrong = [
      column(.double, [0]), column(.int64, []), column(.unspecified, []), column(.bool, [1, 0, 1]),
      column(.string, [0, 0, 0, 0]), column(.bool, [1, 0], [1]),
      column(.string, [0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0]),
      column(.string, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 65]),
    ]
    for columns in wrong {
      #expect(throws: PlatformError.self) { try WorkerColumns.unpacked(columns) }
    }
    #expect(try WorkerColumns.unpacked(column(.bool, [1, 0])).count == 2)
  }
}
