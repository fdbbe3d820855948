import Core
import Server
import Testing

/// Requests that are nearly right: whatever bytes come, the reader answers with a call or with a reason.
@Suite("Inference requests at random")
struct InferenceFuzzTests {
  private static let rounds = 20_000

  /// Requests of every form, to be damaged.
  private static let seeds: [[UInt8]] = [
    #"{"id":"1","inputs":[{"name":"x","shape":[2,2],"datatype":"FP64","data":[[1,2],[3,4.5e-3]]}]}"#,
    #"{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","data":["\u00e9","b"]},{"name":"b","shape":[1],"datatype":"BOOL","data":[true]}],"outputs":[{"name":"p","parameters":{"binary_data":true}}]}"#,
    #"{"parameters":{"entities":[{"customer_id":7}],"timeout":12},"inputs":[]}"#,
    #"{"inputs":[{"name":"i","shape":[3],"datatype":"UINT64","data":[1,null,18446744073709551615]}]}"#,
  ].map { Array($0.utf8) }

  private static let binaryJSON = Array(
    #"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"s","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}"#
      .utf8)

  /// Bytes that a parser is likely to mind.
  private static let splinters: [[UInt8]] =
    [
      "\"", "\\", "[", "]", "{", "}", ",", ":", "null", "-", "1e999", "NaN", "\\u", "\\ud800", "0",
      "-1",
      "9223372036854775808", "BYTES", "FP16", "binary_data_size", "shape", "data", "\u{0}",
    ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0, 0, 0, 0x80]]

  static func damaged(
    _ bytes: [UInt8], _ random: inout SeededGenerator
  ) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...6, using: &random) {
      let at = Int.random(in: 0...bytes.count, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes.removeLast(bytes.count - at)
      case 1 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 2 where at < bytes.count:
        let end = min(bytes.count, at + Int.random(in: 1...8, using: &random))
        bytes.removeSubrange(at..<end)
      case 3 where at < bytes.count:
        let end = min(bytes.count, at + Int.random(in: 1...24, using: &random))
        bytes.insert(contentsOf: Array(bytes[at..<end]), at: at)
      default:
        let splinter = splinters[Int.random(in: 0..<splinters.count, using: &random)]
        bytes.insert(contentsOf: splinter, at: at)
      }
    }
    return bytes
  }

  /// What was read is whole: as many elements as the shape says. What was refused has a reason that is the caller's.
  private static func check(_ body: [UInt8], header: Int?) {
    do {
      let call = try body.withUnsafeBytes { try InferenceReader.read($0, header: header) }
      for tensor in call.inputs {
        #expect(tensor.elements.count == tensor.shape.reduce(1, *))
        #expect(tensor.presence.map { $0.count == tensor.elements.count } ?? true)
      }
    } catch let error as PlatformError {
      #expect(error.code == .invalidArgument && !error.message.isEmpty, "\(body)")
    } catch {
      Issue.record("\(error) for \(body)")
    }
  }

  @Test("damaged JSON is read or refused", arguments: [1, 2, 3] as [UInt64])
  func json(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<Self.rounds {
      let whole = Self.seeds[Int.random(in: 0..<Self.seeds.count, using: &random)]
      Self.check(Self.damaged(whole, &random), header: nil)
    }
  }

  @Test("damaged bodies with binary tensors are read or refused", arguments: [4, 5] as [UInt64])
  func binary(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let tail: [UInt8] = [0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC0, 1, 0, 0, 0, 0x7A]
    for round in 0..<Self.rounds {
      let json = round % 2 == 0 ? Self.binaryJSON : Self.damaged(Self.binaryJSON, &random)
      let body = json + (round % 3 == 0 ? tail : Self.damaged(tail, &random))
      let off = round % 5 == 0 ? Int.random(in: -3...3, using: &random) : 0
      Self.check(body, header: max(0, json.count + off))
    }
  }

  @Test(
    "bytes of any length are the elements of a tensor or refused", arguments: TensorType.allCases)
  func tensors(type: TensorType) {
    var random = SeededGenerator(seed: 6)
    for _ in 0..<2_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        UInt8.random(in: 0...(Bool.random(using: &random) ? 3 : 255), using: &random)
      }
      let count = Int.random(in: 0...12, using: &random)
      do {
        let elements = try bytes.withUnsafeBytes {
          try TensorBytes.elements($0, of: type, count: count, name: "x")
        }
        #expect(elements.count == count)
      } catch let error as PlatformError {
        #expect(error.code == .invalidArgument)
      } catch {
        Issue.record("\(error)")
      }
    }
  }
}
