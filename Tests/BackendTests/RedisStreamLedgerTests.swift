import Core
import Foundation
import RedisBackend
import TestKit
import Testing

/// The ledger of a stream's records on a real server.
@Suite struct RedisStreamLedgerTests {
  private let zero = StreamPartition(topic: "clicks", partition: 0)
  private let one = StreamPartition(topic: "a-topic.with_all", partition: 11)
  private let a = StreamReader(warehouse: "a", member: "a1")
  private let b = StreamReader(warehouse: "b", member: "b1")

  private func with(_ body: (RedisOnlineStore) async throws -> Void) async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      try await body(store)
    }
  }

  private func claim(
    _ range: Range<Int64>, _ store: RedisOnlineStore, _ reader: StreamReader
  ) async throws -> Bool {
    try await store.claim(
      [StreamClaim(partition: zero, first: range.lowerBound, next: range.upperBound)], as: reader
    ).isEmpty
  }

  @Test func `claims of one reader after another are shares in the order of their offsets`()
    async throws
  {
    try await with { store in
      #expect(try await store.look(at: nil).isEmpty)
      #expect(try await store.take([zero: nil, one: 7], as: a)[zero] == StreamShares())
      #expect(try await claim(0..<10, store, a))
      #expect(try await claim(10..<25, store, a))
      #expect(try await store.take([zero: nil], as: b)[zero]?.end == 25)
      #expect(try await claim(25..<30, store, b))
      try await store.note([StreamOffset(partition: zero, next: 30)], in: "b")
      try await store.note([StreamOffset(partition: zero, next: 28)], in: "b")
      let found = try await store.look(at: nil)
      #expect(
        found[zero]
          == StreamShares(
            shares: [
              StreamShare(warehouse: "a", start: 0, end: 25),
              StreamShare(warehouse: "b", start: 25, end: 30),
            ], stored: ["b": 30]))
      #expect(found[one] == StreamShares(stored: ["a": 7]))
    }
  }

  @Test func `who was taken from claims nothing more, and what it had claimed stays its own`()
    async throws
  {
    try await with { store in
      _ = try await store.take([zero: nil], as: a)
      #expect(try await claim(0..<10, store, a))
      _ = try await store.take([zero: nil], as: b)
      #expect(try await !claim(10..<20, store, a))
      // A claim whose answer was lost is repeated; after the taking it is no reason to store more.
      #expect(try await !claim(5..<15, store, a))
      try await store.giveBack([StreamOffset(partition: zero, next: 0)], as: a)
      #expect(try await !claim(5..<15, store, b))
      #expect(try await claim(10..<15, store, b))
      #expect(
        try await store.look(at: [zero])[zero]?.debts(of: "a", position: nil) == [0..<10])
      // Back as another member of the same warehouse: behind what the other has.
      let again = StreamReader(warehouse: "a", member: "a2")
      #expect(try await store.take([zero: 10], as: again)[zero]?.end == 15)
      #expect(try await claim(15..<16, store, again))
      #expect(try await !claim(15..<16, store, b))
    }
  }

  @Test func `a claim that is repeated is the same claim`() async throws {
    try await with { store in
      _ = try await store.take([zero: 3], as: a)
      for _ in 0..<3 { #expect(try await claim(3..<9, store, a)) }
      #expect(
        try await store.look(at: [zero])[zero]
          == StreamShares(
            shares: [StreamShare(warehouse: "a", start: 3, end: 9)], stored: ["a": 3]))
    }
  }

  @Test func `what is given back may be claimed by another, and nothing before it`() async throws {
    try await with { store in
      _ = try await store.take([zero: nil], as: a)
      #expect(try await claim(0..<10, store, a))
      try await store.giveBack([StreamOffset(partition: zero, next: 4)], as: a)
      #expect(try await store.take([zero: nil], as: b)[zero]?.end == 4)
      #expect(try await claim(4..<10, store, b))
      // Nothing of it was stored: nothing of the share is left.
      try await store.giveBack([StreamOffset(partition: zero, next: 0)], as: b)
      _ = try await store.take([zero: 4], as: a)
      #expect(try await claim(4..<6, store, a))
      let found = try #require(try await store.look(at: [zero])[zero])
      #expect(found.shares.map(\.warehouse) == ["a", "a"])
      #expect(found.debts(of: "a", position: 0) == [0..<4, 4..<6])
    }
  }

  @Test func `shares that are stored are forgotten when there are very many, others never`()
    async throws
  {
    try await with { store in
      let count = Int64(Limits.streamShares + 20)
      for next in 1...count {
        let reader = StreamReader(warehouse: next % 2 == 0 ? "a" : "b", member: "m\(next)")
        _ = try await store.take([zero: reader.warehouse == "a" ? next : nil], as: reader)
        #expect(try await claim(next..<next + 1, store, reader))
      }
      let shares = try #require(try await store.look(at: [zero])[zero]).shares
      #expect(shares.count < Int(count))
      // b has stored nothing as far as anybody knows.
      #expect(shares.count { $0.warehouse == "b" } == Int(count) / 2)
      #expect(shares.last?.end == count + 1)
    }
  }

  private func expect(
    _ identities: [StreamIdentity], of source: String, isTaken expected: [Int],
    _ store: RedisOnlineStore
  ) async throws {
    let taken = try await store.claim(identities, of: source)
    #expect(taken == expected)
  }

  private func identities(
    _ ids: Range<UInt64>, partition: Int32, first: Int64
  ) -> [StreamIdentity] {
    ids.enumerated().map { index, id in
      StreamIdentity(
        low: id &* 0x9E37_79B9_7F4A_7C15, high: UInt32(id), partition: partition,
        offset: first + Int64(index))
    }
  }

  @Test
  func `an id belongs to the record that brings it first, however often and by whom it is asked`()
    async throws
  {
    try await with { store in
      let first = identities(0..<3_000, partition: 0, first: 1_000_000_000_000)
      try await expect(first, of: "clicks", isTaken: [], store)
      try await expect(first, of: "clicks", isTaken: [], store)
      let second = identities(2_990..<3_010, partition: 1, first: 7)
      try await expect(second, of: "clicks", isTaken: Array(0..<10), store)
      try await expect(second, of: "clicks", isTaken: Array(0..<10), store)
      // Another source's ids are others.
      try await expect(second, of: "orders", isTaken: [], store)
      try await expect([], of: "clicks", isTaken: [], store)
    }
  }

  @Test
  func `of records with one id in a batch one has it, the same one when they are cut otherwise`()
    async throws
  {
    try await with { store in
      let ids = [(1, 5), (1, 9), (2, 6), (1, 11)].map { id, offset in
        StreamIdentity(low: UInt64(id), high: 0, partition: 3, offset: Int64(offset))
      }
      try await expect([ids[1]], of: "clicks", isTaken: [], store)
      for _ in 0..<2 { try await expect(ids, of: "clicks", isTaken: [0, 3], store) }
      let others = [(4, 20), (4, 21)].map { id, offset in
        StreamIdentity(low: UInt64(id), high: 0, partition: 3, offset: Int64(offset))
      }
      try await expect(others, of: "clicks", isTaken: [1], store)
    }
  }

  @Test func `the newest ids are known, and never more than twice as many are kept`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server) { $0.knownIDs = 1_600 }
      defer { store.close() }
      for start in stride(from: UInt64(0), to: 16_000, by: 400) {
        let fresh = identities(start..<start + 400, partition: 0, first: Int64(start))
        try await expect(fresh, of: "clicks", isTaken: [], store)
        let back = start < 1_200 ? 0 : start - 1_200
        let again = identities(back..<start + 400, partition: 1, first: 0)
        try await expect(again, of: "clicks", isTaken: Array(again.indices), store)
      }
      let oldest = identities(0..<400, partition: 0, first: 50_000)
      try await expect(oldest, of: "clicks", isTaken: [], store)
    }
  }
}
