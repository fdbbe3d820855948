import Core
import NIOCore
import RedisBackend
import TestKit
import Testing

@Suite struct RedisProtocolTests {
  private static let replies: [(String, RESPValue)] = [
    ("+OK\r\n", .simple("OK")),
    ("-ERR no such command\r\n", .error("ERR no such command")),
    (":0\r\n", .integer(0)), (":-42\r\n", .integer(-42)),
    (":9223372036854775807\r\n", .integer(.max)), (":-9223372036854775808\r\n", .integer(.min)),
    ("$0\r\n\r\n", .bulk(ByteBuffer())), ("$-1\r\n", .null), ("*-1\r\n", .null),
    ("$4\r\na\r\nb\r\n", .bulk(ByteBuffer(string: "a\r\nb"))),
    ("*0\r\n", .array([])),
    (
      "*3\r\n:1\r\n$1\r\nx\r\n*2\r\n+a\r\n$-1\r\n",
      .array([.integer(1), .bulk(ByteBuffer(string: "x")), .array([.simple("a"), .null])])
    ),
  ]

  @Test func `every kind of reply is read`() throws {
    for (text, expected) in Self.replies {
      var buffer = ByteBuffer(string: text)
      #expect(try RESPParser.next(in: &buffer) == expected, "\(text.debugDescription)")
      #expect(buffer.readableBytes == 0)
    }
  }

  @Test func `replies come out whole wherever the bytes are cut`() throws {
    let text = Self.replies.map(\.0).joined()
    for cut in 0...text.utf8.count {
      var buffer = ByteBuffer(bytes: text.utf8.prefix(cut))
      var found: [RESPValue] = []
      while let reply = try RESPParser.next(in: &buffer) { found.append(reply) }
      buffer.writeBytes(text.utf8.dropFirst(cut))
      while let reply = try RESPParser.next(in: &buffer) { found.append(reply) }
      #expect(found == Self.replies.map(\.1), "cut at \(cut)")
    }
  }

  @Test(
    "what is no reply of Redis is a fault",
    arguments: [
      "HTTP/1.1 400 Bad Request\r\n", ":12x\r\n", ":\r\n", ":-\r\n", "$5\r\nabcdefg\r\n",
      "$99999999999\r\n", ":9223372036854775808\r\n", "+a\rb\r\n",
      String(repeating: "*1\r\n", count: 20),
    ])
  func faults(_ text: String) {
    var buffer = ByteBuffer(string: text)
    #expect(throws: RESPFault.self) { try RESPParser.next(in: &buffer) }
  }

  @Test func `a count that a server claims takes no memory before its values are there`() throws {
    var buffer = ByteBuffer(string: "*200000000\r\n:1\r\n")
    #expect(try RESPParser.next(in: &buffer) == nil)
  }

  @Test func `a command is an array of binary strings`() {
    let command = RedisRequest([Array("SET".utf8), Array("k".utf8), [0, 13, 10, 255]])
    #expect(
      Array(RedisRequest.encoded([command]).readableBytesView)
        == Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n".utf8) + [0, 13, 10, 255, 13, 10])
  }

  @Test func `the greeting authenticates, selects and asks whether it is the master`() {
    let whole = Handshake(username: "u", password: "p", database: 3, needsMaster: true)
    #expect(
      whole.requests == [
        RedisRequest("AUTH", "u", "p"), RedisRequest("SELECT", "3"), RedisRequest("PING"),
        RedisRequest("ROLE"),
      ])
    let short = Handshake(username: nil, password: nil, database: 0, needsMaster: false)
    #expect(short.requests == [RedisRequest("PING")])
    let address = RedisAddress(host: "h", port: 1)
    let fine: [RESPValue] = [.simple("OK"), .simple("OK"), .simple("PONG")]
    func master(_ role: String) -> RESPValue { .array([.bulk(ByteBuffer(string: role))]) }
    #expect(whole.fault(in: fine + [master("master")], from: address) == nil)
    let replica = whole.fault(in: fine + [master("slave")], from: address)
    #expect(replica?.code == .unavailable)
    let refused = whole.fault(
      in: [.error("WRONGPASS invalid username-password pair")], from: address)
    #expect(refused?.code == .invalidConfiguration)
    #expect(refused?.retryable == false)
    #expect(refused?.message.contains("h:1") == true)
    let loading = short.fault(in: [.error("LOADING Redis is loading")], from: address)
    #expect(loading?.retryable == true)
  }

  @Test(
    "an address is read with and without a port",
    arguments: [
      ("localhost", RedisAddress(host: "localhost", port: 6_379)),
      ("10.0.0.1:7000", RedisAddress(host: "10.0.0.1", port: 7_000)),
      ("[::1]:7000", RedisAddress(host: "::1", port: 7_000)),
      ("[::1]", RedisAddress(host: "::1", port: 6_379)), ("", nil), ("h:", nil), ("h:0", nil),
      ("h:70000", nil), ("::1", nil), ("[::1]x", nil),
    ])
  func addresses(_ text: String, _ expected: RedisAddress?) {
    #expect(RedisAddress(text) == expected)
  }

  @Test func `settings that contradict each other are refused with a message`() throws {
    func refusal(_ change: (inout RedisConfiguration) -> Void) -> PlatformError? {
      var configuration = RedisConfiguration(
        addresses: [RedisAddress(host: "h", port: 1)], project: "shop")
      change(&configuration)
      do {
        try configuration.validate()
        return nil
      } catch {
        return error as? PlatformError
      }
    }
    #expect(refusal { _ in } == nil)
    #expect(refusal { $0.addresses = [] }?.message.contains("address") == true)
    #expect(refusal { $0.project = "a:b" } != nil)
    #expect(
      refusal {
        $0.mode = .cluster
        $0.database = 1
      }?.message.contains("Cluster") == true)
    #expect(refusal { $0.mode = .sentinel(master: "") } != nil)
    #expect(refusal { $0.username = "u" }?.message.contains("password") == true)
    #expect(refusal { $0.tls = RedisTLS(certificateFile: "a") } != nil)
    #expect(refusal { $0.tls = RedisTLS(certificateFile: "a", keyFile: "b") } == nil)
    #expect(refusal { $0.inFlight = 0 } != nil)
    #expect(refusal { $0.longestBackoff = .milliseconds(1) } != nil)
  }
}
