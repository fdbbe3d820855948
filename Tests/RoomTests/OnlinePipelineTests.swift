import Core
import Features
import Testing

@Suite struct OnlinePipelineTests {
  private func order(
    _ customer: Value, shop: Value = .int64(1), amount: Value? = .double(60),
    kind: Value? = .string("b")
  ) -> Order {
    Order(
      customer: customer, shop: shop, amount: amount, kind: kind, time: 5, createdAt: 6, sequence: 7
    )
  }

  @Test func `rows without a whole key are left out, view by view`() throws {
    let snapshot = try OnlineShop.snapshot()
    let layouts = try #require(
      snapshot.layouts["spend"].flatMap { spend in
        snapshot.layouts["pairs"].map { [spend, $0] }
      })
    let batch = OnlineShop.batch([
      order(.string("a")), order(.null), order(.string("b"), shop: .null), order(.string("c")),
    ])
    let writes = OnlinePipeline.writes(for: batch, layouts: layouts)
    #expect(writes.map(\.view) == ["spend", "pairs"])
    #expect(writes[0].keys == [.string("a"), .string("b"), .string("c")])
    #expect(
      writes[1].keys == [
        .composite([.string("a"), .int64(1)]), .composite([.string("c"), .int64(1)]),
      ])
    for write in writes {
      #expect(write.eventTimestamps.count == write.keys.count)
      #expect(write.latest.allSatisfy { $0.count == write.keys.count })
      #expect(write.slots.allSatisfy { $0.count == write.keys.count })
    }
  }

  @Test func `a slot takes numbers that are there and pass its filter`() throws {
    let layout = try #require(try OnlineShop.snapshot().layouts["spend"])
    let batch = OnlineShop.batch(
      [.double(60), .double(50), .null, nil, .double(.nan)].map { order(.string("a"), amount: $0) })
    let write = try #require(OnlinePipeline.writes(for: batch, layouts: [layout]).first)
    func values(_ column: String?, filtered: Bool) throws -> [Double?] {
      let slot = try #require(
        layout.slots.firstIndex {
          $0.column == column && ($0.filter?.text.contains("50") ?? false) == filtered
        })
      return write.slots[slot].map { $0.isNaN ? nil : $0 }
    }
    #expect(try values(nil, filtered: false) == [1, 1, 1, 1, 1])
    #expect(try values("amount", filtered: false) == [60, 50, nil, nil, nil])
    #expect(try values(nil, filtered: true) == [1, nil, nil, nil, nil])
    #expect(try values("amount", filtered: true) == [60, nil, nil, nil, nil])
  }

  @Test func `a column that the batch does not have is no observation`() throws {
    let layout = try #require(try OnlineShop.snapshot().layouts["spend"])
    var batch = OnlineShop.batch([order(.string("a"))])
    batch.columns.removeAll { $0.name == "amount" }
    let write = try #require(OnlinePipeline.writes(for: batch, layouts: [layout]).first)
    #expect(write.latest[0].presence(at: 0) == .absent)
    #expect(write.latest[1][0] == .string("b"))
    batch.columns.removeAll { $0.name == "customer" }
    #expect(OnlinePipeline.writes(for: batch, layouts: [layout]).isEmpty)
  }

  @Test func `views of other sources get nothing`() throws {
    var layout = try #require(try OnlineShop.snapshot().layouts["spend"])
    layout.source = "returns"
    #expect(
      OnlinePipeline.writes(for: OnlineShop.batch([order(.string("a"))]), layouts: [layout]).isEmpty
    )
  }
}
