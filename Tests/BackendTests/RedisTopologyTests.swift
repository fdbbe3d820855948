import Core
import NIOCore
import RedisBackend
import TestKit
import Testing

@Suite struct RedisTopologyTests {
  private let here = RedisAddress(host: "10.0.0.1", port: 7_000)

  @Test func `slots are those of the specification`() {
    #expect(ClusterSlots.crc16(Array("123456789".utf8)[...]) == 0x31C3)
    let slots: [(String, UInt16)] = [
      ("foo", 12_182), ("bar", 5_061), ("hello", 866), ("", 0),
      ("{user1000}.following", 3_443), ("{user1000}.followers", 3_443),
    ]
    for (key, slot) in slots { #expect(ClusterSlots.slot(of: Array(key.utf8)) == slot, "\(key)") }
  }

  @Test(
    "the first braces with something in them are the hash tag",
    arguments: [
      ("a{b}c", "b"), ("{b}{c}", "b"), ("a{}{b}", "a{}{b}"), ("a{b", "a{b"), ("a}b{c}", "c"),
      ("{{b}}", "{b"), ("plain", "plain"),
    ])
  func tags(_ key: String, _ tag: String) {
    #expect(Array(ClusterSlots.hashTag(of: Array(key.utf8))) == Array(tag.utf8))
  }

  @Test func `answers that a command belongs elsewhere are told from errors`() {
    func redirect(_ text: String) -> ClusterRedirect? {
      ClusterRedirect(.error(text), from: here)
    }
    #expect(
      redirect("MOVED 3999 10.0.0.2:6381")
        == .moved(slot: 3_999, RedisAddress(host: "10.0.0.2", port: 6_381)))
    #expect(redirect("ASK 3999 ::1:6381") == .ask(RedisAddress(host: "::1", port: 6_381)))
    #expect(
      redirect("MOVED 1 :6381") == .moved(slot: 1, RedisAddress(host: "10.0.0.1", port: 6_381)))
    #expect(redirect("TRYAGAIN Multiple keys request during rehashing of slot") == .later)
    #expect(redirect("CLUSTERDOWN The cluster is down") == .later)
    for text in ["MOVED 99999 h:1", "MOVED x h:1", "MOVED 1 h", "MOVED 1", "ERR no", "MOVEDLY 1"] {
      #expect(redirect(text) == nil, "\(text)")
    }
    #expect(ClusterRedirect(.simple("MOVED 1 h:1"), from: here) == nil)
  }

  private func node(_ host: String, _ port: Int64) -> RESPValue {
    .array([.bulk(ByteBuffer(string: host)), .integer(port), .bulk(ByteBuffer(string: "id"))])
  }

  @Test func `the table of slots is read, and changes slot by slot`() throws {
    let reply = RESPValue.array([
      .array([.integer(0), .integer(99), node("10.0.0.1", 7_000), node("10.0.0.9", 7_009)]),
      .array([.integer(100), .integer(16_383), node("", 7_001)]),
    ])
    var table = try #require(SlotTable(reply, from: here))
    #expect(table.owner(of: 0) == here)
    #expect(table.owner(of: 99) == here)
    #expect(table.owner(of: 100) == RedisAddress(host: "10.0.0.1", port: 7_001))
    #expect(table.masters.count == 2)
    table.assign(99, to: RedisAddress(host: "new", port: 1))
    #expect(table.owner(of: 99) == RedisAddress(host: "new", port: 1))
    #expect(table.owner(of: 98) == here)
    #expect(SlotTable().owner(of: 5) == nil)
  }

  @Test func `what is no table of slots is none`() {
    let broken: [RESPValue] = [
      .null, .simple("OK"), .error("ERR This instance has cluster support disabled"),
      .array([.array([.integer(0)])]),
      .array([.array([.integer(0), .integer(16_384), node("h", 1)])]),
      .array([.array([.integer(9), .integer(8), node("h", 1)])]),
      .array([.array([.integer(0), .integer(1), node("h", 0)])]),
    ]
    for reply in broken { #expect(SlotTable(reply, from: here) == nil, "\(reply)") }
  }

  @Test func `the Sentinel that answered is asked first the next time`() {
    let sentinels = (1...3).map { RedisAddress(host: "s\($0)", port: 26_379) }
    var discovery = SentinelDiscovery(sentinels: sentinels)
    discovery.found(here, by: sentinels[2])
    #expect(discovery.master == here)
    #expect(discovery.sentinels.map(\.host) == ["s3", "s1", "s2"])
    discovery.lost(RedisAddress(host: "other", port: 1))
    #expect(discovery.master == here)
    discovery.lost(here)
    #expect(discovery.master == nil)
  }

  @Test func `Sentinels that know no master are left alone for a while`() {
    var discovery = SentinelDiscovery(sentinels: [here])
    var random = SeededGenerator(seed: 3)
    let backoff = Backoff(shortest: .milliseconds(100), longest: .seconds(1))
    discovery.failed(now: 1_000_000, backoff: backoff, using: &random)
    #expect((1_050_000...1_100_000).contains(discovery.notBefore))
    discovery.failed(now: 2_000_000, backoff: backoff, using: &random)
    #expect((2_100_000...2_200_000).contains(discovery.notBefore))
    discovery.found(here, by: here)
    #expect(discovery.failures == 0)
  }

  @Test func `a Sentinel's answer is an address, or that it knows none`() {
    func text(_ text: String) -> RESPValue { .bulk(ByteBuffer(string: text)) }
    #expect(SentinelDiscovery.answer(.array([text("10.0.0.1"), text("7000")])) == here)
    #expect(SentinelDiscovery.answer(.null) == nil)
    #expect(SentinelDiscovery.answer(.array([text("h")])) == nil)
    #expect(SentinelDiscovery.answer(.array([text("h"), text("x")])) == nil)
    #expect(
      SentinelDiscovery.question(master: "m")
        == RedisRequest("SENTINEL", "get-master-addr-by-name", "m"))
  }
}
