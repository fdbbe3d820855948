import Core
import Features
import Foundation
import TestKit
import Testing

/// The one writer and the one scanner of JSON, under requests and records alike.
@Suite struct JSONTests {
  static func value(depth: Int, using random: inout SeededGenerator) -> JSON {
    switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
    case 0: .null
    case 1: .bool(Bool.random(using: &random))
    case 2:
      .int(
        [0, -1, .min, .max, Int64.random(in: .min ... .max, using: &random)]
          .randomElement(using: &random) ?? 0)
    case 3: .double(double(using: &random))
    case 4, 5: .string(text(using: &random))
    case 6:
      .array(
        (0..<Int.random(in: 0...4, using: &random)).map { _ in
          value(depth: depth - 1, using: &random)
        })
    default: object(depth: depth, using: &random)
    }
  }

  static func object(depth: Int, using random: inout SeededGenerator) -> JSON {
    .object(
      (0..<Int.random(in: 0...4, using: &random)).map { _ in
        JSON.Member(text(using: &random), value(depth: depth - 1, using: &random))
      })
  }

  private static func double(using random: inout SeededGenerator) -> Double {
    let bits = Double(bitPattern: UInt64.random(in: .min ... .max, using: &random))
    return bits.isFinite ? bits : 0.1
  }

  private static func text(using random: inout SeededGenerator) -> String {
    (0..<Int.random(in: 0...6, using: &random)).reduce(into: "") { text, _ in
      let scalar = [
        UInt32.random(in: 0..<0x80, using: &random), .random(in: 0...0x1F, using: &random),
        .random(in: 0...0x10FFFF, using: &random), 0x22, 0x5C, 0x301,
      ].randomElement(using: &random)
      if let scalar = Unicode.Scalar(scalar ?? 0) { text.unicodeScalars.append(scalar) }
    }
  }

  /// Why a body of records is refused as a whole; nil where it is not.
  private static func refusal(ofRecords bytes: [UInt8]) -> String? {
    let source = SourceDefinition(
      name: "s", eventTime: "at", columns: [ColumnDefinition(name: "x", type: .string)])
    var parser = RecordParser(source: source, origin: .once(token: "t"))
    do throws(PlatformError) {
      try parser.append(body: bytes)
      return nil
    } catch {
      return error.message
    }
  }

  private static func refusal(ofRequest bytes: [UInt8]) -> String? {
    do {
      _ = try JSON(parsing: bytes)
      return nil
    } catch {
      return (error as? PlatformError)?.message ?? "\(error)"
    }
  }

  @Test func `what is written reads back the same`() throws {
    let seed = UInt64.random(in: 0...1_000_000)
    var random = SeededGenerator(seed: seed)
    for _ in 0..<3_000 {
      let json = JSONTests.value(depth: 4, using: &random)
      #expect(try JSON(parsing: json.utf8) == json, "seed \(seed): \(json.text)")
    }
  }

  @Test func `another reader reads the same texts and numbers`() throws {
    var random = SeededGenerator(seed: 21)
    for _ in 0..<500 {
      let json = JSONTests.value(depth: 0, using: &random)
      let found = try #require(
        try JSONSerialization.jsonObject(with: Data("[\(json.text)]".utf8)) as? [Any])
      switch json {
      case .string(let text):
        let read = try #require(found[0] as? String)
        #expect(Array(read.utf8) == Array(text.utf8))
      case .int(let number): #expect((found[0] as? NSNumber)?.int64Value == number)
      case .double(let number): #expect(Double(json.text) == number)
      default: break
      }
    }
  }

  @Test func `a text that ends too early is refused by both readers with its byte`() {
    var random = SeededGenerator(seed: 31)
    for _ in 0..<200 {
      let whole = JSON.object([
        "x": JSONTests.object(depth: 3, using: &random),
        "y": JSONTests.value(depth: 2, using: &random),
      ]).utf8
      for length in 1..<whole.count {
        let bytes = Array(whole.prefix(length))
        for message in [
          JSONTests.refusal(ofRequest: bytes), JSONTests.refusal(ofRecords: bytes),
        ] {
          let byte = message?.firstMatch(of: /byte (\d+)/).flatMap { Int($0.1) }
          #expect(byte.map { (0...length).contains($0) } == true, "\(message ?? "accepted")")
        }
      }
    }
  }

  @Test func `both readers agree about damaged texts`() {
    let seed = UInt64.random(in: 0...1_000_000)
    var random = SeededGenerator(seed: seed)
    var refused = 0
    for _ in 0..<4_000 {
      var bytes = Array("{\"z\":".utf8) + JSONTests.object(depth: 3, using: &random).utf8
      bytes.append(UInt8(ascii: "}"))
      for _ in 0..<Int.random(in: 1...2, using: &random) {
        let place = Int.random(in: 5..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes.remove(at: place)
        case 1: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
        default:
          bytes.insert(Array("{}[],:\"\\0e-.".utf8).randomElement(using: &random) ?? 0, at: place)
        }
      }
      let request = JSONTests.refusal(ofRequest: bytes)
      let records = JSONTests.refusal(ofRecords: bytes)
      // After a whole record another may follow; after a whole request nothing may.
      if request?.contains("after the end") == true { continue }
      if request != nil { refused += 1 }
      #expect(
        (request == nil) == (records == nil),
        "seed \(seed): \(String(decoding: bytes, as: UTF8.self)): \(request ?? "ok"), \(records ?? "ok")"
      )
    }
    #expect(refused > 1_000)
  }

  @Test(arguments: [
    ("[1, 2", "byte 5: expected ']' but the text ends"),
    ("{\"a\" 1}", "byte 5: expected ':' but found '1'"),
    ("{a: 1}", "byte 1: expected '\"' but found 'a'"), ("[01]", "byte 1: a malformed number"),
    ("[1] x", "byte 4: text after the end"), ("\"\\q\"", "byte 1: an unknown escape"),
    ("\"a\nb\"", "byte 2: a control character"), ("\"abc", "byte 0: a string without its closing"),
    ("\"\\ud800x\"", "half of a surrogate pair"), ("nul", "byte 0: expected null"),
    ("", "byte 0: expected a value but the text ends"),
    (String(repeating: "[", count: 65), "byte 64: values nested deeper than 64 levels"),
  ]) func `a malformed request is told what and where`(text: String, part: String) {
    let message = JSONTests.refusal(ofRequest: Array(text.utf8))
    #expect(message?.contains(part) == true, "\(message ?? "accepted")")
    #expect(message?.hasPrefix("not valid JSON at byte ") == true)
  }

  @Test func `the deepest value that is allowed is read`() throws {
    let text = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
    #expect(try JSON(parsing: Array(text.utf8)).text == text)
  }

  @Test func `whole numbers are whole to the ends of their range`() throws {
    let text = "[-9223372036854775808,9223372036854775807,-0]"
    #expect(try JSON(parsing: Array(text.utf8)) == .array([.int(.min), .int(.max), .int(0)]))
  }

  @Test func `doubles that JSON has no number for are texts, and control characters escapes`() {
    #expect(
      JSON.array([.double(.nan), .double(.infinity), .double(-.infinity)]).text
        == #"["NaN","Infinity","-Infinity"]"#)
    #expect(
      JSON.string("\u{0}\u{8}\t\n\u{B}\u{C}\r\u{1F}\"\\/é").text
        == #""\u0000\b\t\n\u000b\f\r\u001f\"\\/é""#)
    var bytes = Array("{".utf8)
    JSON.writeMember("a", .timestamp(Timestamp(microseconds: 0)), into: &bytes)
    JSON.writeMember("b", .null, into: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":"1970-01-01T00:00:00Z","b":null"#)
  }

  @Test func `of a repeated key the last counts, and keys are told apart by their bytes`() throws {
    let json = try JSON(parsing: Array("{\"\u{E9}\":1,\"e\u{301}\":2,\"\u{E9}\":3}".utf8))
    #expect(json["\u{E9}"] == .int(3) && json["e\u{301}"] == .int(2))
    #expect(JSON.string("\u{E9}") != .string("e\u{301}"))
  }
}

extension RecordParser {
  fileprivate mutating func append(body: [UInt8]) throws(PlatformError) {
    try body.withUnsafeBufferPointer { bytes throws(PlatformError) in try append(body: bytes) }
  }
}
