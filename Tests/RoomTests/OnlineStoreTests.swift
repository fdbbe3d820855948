import Core
import EmbeddedBackend
import Foundation
import TestKit
import Testing

@Suite struct OnlineStoreTests {
  @Test(
    "the store in memory keeps the contract of an online store", arguments: OnlineStoreContract.all)
  func contract(_ part: OnlineStoreContract) async throws {
    try await part.check(MemoryOnlineStore())
  }

  @Test func `a state that a reader holds does not change under it`() async throws {
    let layout = ContractView.layout()
    let store = MemoryOnlineStore()
    _ = try await store.prepare(layout)
    let now = Timestamp(microseconds: ContractView.base + ContractView.minute)
    func apply(_ sequence: Int64) async throws {
      let event = ContractView.event("x", at: ContractView.base, sequence: sequence, a: 1)
      try await store.apply([ContractView.write([event], to: layout)], now: now)
    }
    try await apply(1)
    let held = try await store.read(view: layout.view, keys: [.string("x")])[0]
    let copy = held
    try await apply(2)
    #expect(held == copy)
    #expect(try await store.read(view: layout.view, keys: [.string("x")])[0] != held)
  }

  @Test func `a write for another layout is refused`() async throws {
    var layout = ContractView.layout()
    let store = MemoryOnlineStore()
    _ = try await store.prepare(layout)
    layout.latestColumns = []
    let write = ContractView.write([], to: layout)
    await #expect(throws: PlatformError.self) {
      try await store.apply([write], now: Timestamp(microseconds: ContractView.base))
    }
  }

  @Test func `the digest of a layout tells what is kept, not how it is read`() {
    let layout = ContractView.layout()
    var derived = layout
    derived.readers.append(("twice", .double, .derived(.name("last_a"))))
    #expect(derived.stateDigest == layout.stateDigest)
    #expect(ContractView.layout(horizon: .hours(48)).stateDigest != layout.stateDigest)
    var filtered = layout
    filtered.slots[0].filter = .binary(.greater, .name("a"), .literal(.int64(3)))
    #expect(filtered.stateDigest != layout.stateDigest)
  }
}
