import Core
import EmbeddedBackend
import Features
import Logging
import TestKit
import Testing

/// A shop that is open: orders go in through the online state, features come out through the hydrator.
struct OpenShop {
  let clock = TestClock(Timestamp(microseconds: OnlineShop.base))
  let store = MemoryOnlineStore()
  let warehouse = EventTablesInMemory()
  let definitions: Published<Snapshot>
  let state: OnlineState
  let hydrator: Hydrator

  init(_ snapshot: Snapshot? = nil, restoring: Bool = true) async throws {
    definitions = Published(try snapshot ?? OnlineShop.snapshot())
    state = OnlineState(
      definitions: definitions, store: store, warehouse: warehouse, clock: clock,
      snapshotPath: "/nonexistent/online", logger: Logger(label: "test"))
    hydrator = Hydrator(snapshots: state.visible, store: store, clock: clock)
    if restoring { try await state.restore() }
  }

  func take(_ orders: [Order]) async throws {
    let batch = OnlineShop.batch(orders)
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    try await state.apply([batch])
  }

  func read(_ names: [String], _ rows: [RequestRow]) async throws -> HydratedRows {
    try await hydrator.hydrate(
      HydrateRequest(features: try names.map { try #require(FeatureName($0)) }, rows: rows))
  }

  func order(
    _ customer: String, shop: Int64 = 1, amount: Value? = .double(60), kind: Value? = .string("b"),
    minute: Int64 = 0, sequence: Int64 = 1
  ) -> Order {
    let time = OnlineShop.base + minute * OnlineShop.minute
    return Order(
      customer: .string(customer), shop: .int64(shop), amount: amount, kind: kind, time: time,
      createdAt: time, sequence: sequence)
  }
}

@Suite struct OnlineHydratorTests {
  private static let stored = [
    "last_amount", "last_kind", "n_1h", "big_24h", "big_sum_24h", "mean_24h", "min_24h", "max_3h",
    "count_amount_24h",
  ].map { "spend.\($0)" }

  @Test func `reads at any time equal plain loops over all the events`() async throws {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    let shop = try await OpenShop()
    // Arrival in any order, while the clock goes on: most orders come late, some are from the future.
    var arriving = OnlineShop.randomOrders(600, using: &random)[...]
    var arrived: [Order] = []
    while !arriving.isEmpty {
      let some = arriving.prefix(Int.random(in: 1...30, using: &random))
      arriving = arriving.dropFirst(some.count)
      arrived += some
      shop.clock.advance(by: .minutes(Int64.random(in: 0...120, using: &random)))
      try await shop.take(Array(some))
      let oracle = OrderOracle(orders: arrived, time: shop.clock.now.microseconds)
      let rows: [RequestRow] = (0..<5).map {
        ["customer": .string("c\($0)"), "shop": .int64(Int64.random(in: 0..<3, using: &random))]
      }
      let found = try await shop.read(Self.stored + ["pairs.n_3h", "pairs.last"], rows)
      for (row, vector) in zip(rows, found.vectors) {
        let customer = try #require(row["customer"])
        let expected = oracle.spend(customer) + oracle.pairs(customer, try #require(row["shop"]))
        for (index, (status, value, time)) in expected.enumerated() {
          let name = found.features[index].name
          let got = vector.values[index]
          #expect(isNearly(got.value, value), "seed \(seed), \(name) of \(row)")
          #expect(got.status == status, "seed \(seed), \(name) of \(row)")
          #expect(got.eventTimestamp?.microseconds == time, "seed \(seed), \(name) of \(row)")
        }
      }
    }
  }

  @Test func `windows slide with the clock and a latest value expires`() async throws {
    let shop = try await OpenShop()
    try await shop.take([shop.order("a", amount: .double(7))])
    func read() async throws -> [FeatureValue] {
      try await shop.read(
        ["spend.last_amount", "spend.n_1h", "spend.mean_24h"], [["client": .string("a")]]
      ).vectors[0].values
    }
    let time = Timestamp(microseconds: OnlineShop.base)
    #expect(
      try await read() == [
        FeatureValue(value: .double(7), status: .present, eventTimestamp: time),
        FeatureValue(value: .int64(1), status: .present, eventTimestamp: time),
        FeatureValue(value: .double(7), status: .present, eventTimestamp: time),
      ])
    shop.clock.set(time + .hours(2))
    #expect(try await read()[0].status == .present)
    shop.clock.set(time + .hours(2) + Span(microseconds: 1))
    #expect(
      try await read()[0] == FeatureValue(value: .null, status: .expired, eventTimestamp: time))
    #expect(
      try await read()[1] == FeatureValue(value: .int64(0), status: .present, eventTimestamp: time))
    shop.clock.set(time + .hours(26))
    #expect(
      try await read()[2] == FeatureValue(value: .null, status: .null, eventTimestamp: time))
  }

  @Test func `an unknown key reads as a silent one and says so`() async throws {
    let shop = try await OpenShop()
    let found = try await shop.read(
      ["spend.last_amount", "spend.n_1h", "spend.big_sum_24h", "spend.mean_24h", "spend.share"],
      [["client": .string("nobody")]])
    #expect(found.vectors[0].values.map(\.value) == [.null, .int64(0), .double(0), .null, .null])
    #expect(
      found.vectors[0].values.allSatisfy { $0.status == .notFound && $0.eventTimestamp == nil })
  }

  @Test func `derived features use features of their own and of other views`() async throws {
    let shop = try await OpenShop()
    let time = Timestamp(microseconds: OnlineShop.base + 3 * OnlineShop.minute)
    shop.clock.set(time)
    try await shop.take([
      shop.order("a", shop: 1, amount: .double(60), minute: 0, sequence: 1),
      shop.order("a", shop: 2, amount: .double(10), minute: 3, sequence: 2),
    ])
    let found = try await shop.read(
      ["spend.twice_share", "spend.known", "spend.across", "spend.share"],
      [
        ["customer": .string("a"), "shop": .int64(2)],
        ["customer": .string("z"), "shop": .int64(2)],
      ])
    #expect(
      found.vectors[0].values.map(\.value) == [.double(1), .double(10), .int64(3), .double(0.5)])
    #expect(
      found.vectors[0].values.allSatisfy { $0.status == .present && $0.eventTimestamp == time })
    #expect(found.vectors[1].values.map(\.value) == [.null, .double(-1), .int64(0), .null])
    #expect(found.vectors[1].values.allSatisfy { $0.status == .notFound })
    #expect(found.features.map(\.type) == [.double, .double, .int64, .double])
    #expect(
      found.columns["spend.share"]
        == Column(name: "spend.share", type: .double, [.double(0.5), .null]))
  }

  @Test func `a model's vector mixes stored features, inputs and derived ones`() async throws {
    let shop = try await OpenShop()
    try await shop.take([shop.order("a")])
    let vector = [
      ModelFeature(
        name: "late", origin: .derived(try Expression.parse("hour >= 22 or hurry")), type: .bool),
      ModelFeature(
        name: "spend.n_1h", origin: .view(FeatureName(view: "spend", feature: "n_1h")), type: .int64
      ),
      ModelFeature(name: "distance", origin: .input, type: .double),
      ModelFeature(name: "hour", origin: .derived(try Expression.parse("at % 24")), type: .int64),
      ModelFeature(
        name: "pace", origin: .derived(try Expression.parse("distance / spend.count_amount_24h")),
        type: .double),
    ]
    let inputs = [
      ColumnDefinition(name: "at", type: .int64), ColumnDefinition(name: "hurry", type: .bool),
      ColumnDefinition(name: "distance", type: .double),
    ]
    let rows: [RequestRow] = [
      ["client": .string("a"), "at": .double(47), "distance": .int64(3)],
      ["client": .string("a"), "hurry": .bool(true), "at": .null],
    ]
    let found = try await shop.hydrator.hydrate(
      HydrateRequest(vector: vector, inputs: inputs, rows: rows))
    #expect(
      found.vectors[0].values.map(\.value) == [
        .bool(true), .int64(1), .double(3), .int64(23), .double(3),
      ])
    #expect(found.vectors[1].values.map(\.value) == [.bool(true), .int64(1), .null, .null, .null])
    #expect(found.vectors[1].values.map(\.status) == [.present, .present, .notFound, .null, .null])
    #expect(found.features.map(\.name) == vector.map(\.name))
  }

  @Test func `what a model derives reads what views derive, from other views too, and each other`()
    async throws
  {
    let shop = try await OpenShop()
    shop.clock.set(Timestamp(microseconds: OnlineShop.base + 3 * OnlineShop.minute))
    try await shop.take([
      shop.order("a", shop: 1, amount: .double(60), minute: 0, sequence: 1),
      shop.order("a", shop: 2, amount: .double(10), minute: 3, sequence: 2),
    ])
    func derived(_ name: String, _ text: String, _ type: ColumnType) throws -> ModelFeature {
      ModelFeature(name: name, origin: .derived(try Expression.parse(text)), type: type)
    }
    let vector = [
      try derived("heavy", "weighted > 2 and spend.across = 3", .bool),
      try derived("weighted", "weight * spend.twice_share", .double),
      ModelFeature(name: "weight", origin: .input, type: .double),
    ]
    let found = try await shop.hydrator.hydrate(
      HydrateRequest(
        vector: vector, inputs: [ColumnDefinition(name: "weight", type: .double)],
        rows: [
          ["customer": .string("a"), "shop": .int64(2), "weight": .double(3)],
          ["customer": .string("a"), "shop": .int64(1), "weight": .double(1)],
          ["customer": .string("z"), "shop": .int64(1), "weight": .double(3)],
        ]))
    #expect(
      found.vectors.map { $0.values.map(\.value) } == [
        [.bool(true), .double(3), .double(3)], [.bool(false), .double(1), .double(1)],
        // The share of a stranger is null, but false decides.
        [.bool(false), .null, .double(3)],
      ])
  }

  @Test func `a null key reads null, and the same feature may be asked for twice`() async throws {
    let shop = try await OpenShop()
    try await shop.take([shop.order("a")])
    let found = try await shop.read(
      ["spend.n_1h", "spend.n_1h", "spend.share", "spend.share"],
      [["client": .null], ["client": .string("a")], ["customer": .null]])
    #expect(found.vectors[0].values.map(\.value) == [.null, .null, .null, .null])
    #expect(found.vectors[0].values.allSatisfy { $0.status == .notFound })
    #expect(found.vectors[1].values.map(\.value) == [.int64(1), .int64(1), .double(1), .double(1)])
    #expect(try await shop.read(["spend.n_1h"], []).vectors.isEmpty)
  }

  @Test(
    "a request that cannot be answered says why",
    arguments: [
      (
        ["spend.n_1h"], [:], ErrorCode.invalidArgument,
        "row 1 does not name entity 'client': give its key column 'customer' (or 'client')"
      ),
      (
        ["pairs.n_3h"], ["customer": .string("a")], .invalidArgument,
        "row 1 does not name entity 'pair': give its key column 'shop'"
      ),
      (
        ["pairs.n_3h"], ["customer": .string("a"), "shop": .string("b")], .invalidArgument,
        "key column 'shop' of entity 'pair' takes int64, but got string"
      ),
      (
        ["spend.n_1h"], ["client": .int64(3)], .invalidArgument,
        "key column 'customer' of entity 'client' takes string, but got int64"
      ),
      (
        ["spend.n_1h"], ["custmer": .string("a")], .invalidArgument,
        "row 1 names 'custmer', which nothing asked for is keyed by; expected 'customer' of entity 'client'; did you mean 'customer'?"
      ),
      (
        ["spend.n_1h"], ["client": .string("a"), "weather": .string("fine")], .invalidArgument,
        "row 1 names 'weather', which nothing asked for is keyed by; expected 'customer' of entity 'client'"
      ),
      (
        ["pairs.n_3h", "spend.n_1h"], ["customer": .string("a"), "shop": .int64(1), "shp": .null],
        .invalidArgument,
        "expected 'customer', 'shop' of entity 'pair', and 'customer' of entity 'client'; did you mean 'shop'?"
      ),
      (
        ["spend.n_1h"], ["customer": .string("a"), "shop": .int64(1)], .invalidArgument,
        "row 1 names 'shop', which nothing asked for is keyed by"
      ),
      (
        ["spend.n_2h"], ["client": .string("a")], .notFound,
        "view 'spend' has no feature 'n_2h'; did you mean 'n_1h'?"
      ),
      (
        ["spent.n_1h"], ["client": .string("a")], .notFound,
        "there is no view 'spent' (for feature 'spent.n_1h'); did you mean 'spend'?"
      ),
    ] as [([String], RequestRow, ErrorCode, String)])
  func refusals(names: [String], row: RequestRow, code: ErrorCode, message: String) async throws {
    let shop = try await OpenShop()
    let error = await #expect(throws: PlatformError.self) { _ = try await shop.read(names, [row]) }
    #expect(error?.code == code)
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
  }

  @Test func `a circle of derived features is refused with its path`() async throws {
    let circle = ViewDefinition(
      name: "spend", entity: "client", source: "orders",
      features: [
        OnlineShop.feature("a", .derived(try Expression.parse("b + 1"))),
        OnlineShop.feature("b", .derived(try Expression.parse("spend.a"))),
      ])
    let shop = try await OpenShop(try OnlineShop.snapshot(views: [circle]))
    let error = await #expect(throws: PlatformError.self) {
      _ = try await shop.read(["spend.a"], [["client": .string("a")]])
    }
    #expect(
      error?.message.contains("spend.a → spend.b → spend.a") == true, "\(error?.message ?? "")")
  }

  @Test func `a feature that reads no view takes the key of its own all the same`() async throws {
    let fixed = ViewDefinition(
      name: "spend", entity: "client", source: "orders",
      features: [OnlineShop.feature("one", .derived(try Expression.parse("1 + 0")))])
    let shop = try await OpenShop(try OnlineShop.snapshot(views: [fixed]))
    let found = try await shop.read(["spend.one"], [["customer": .string("a")]])
    #expect(found.vectors.count == 1)
  }

  @Test func `a row of a model may name what the model's older versions do not read`() async throws
  {
    let shop = try await OpenShop()
    let vector = [
      ModelFeature(
        name: "spend.n_1h", origin: .view(FeatureName(view: "spend", feature: "n_1h")), type: .int64
      )
    ]
    let inputs = [ColumnDefinition(name: "distance", type: .double)]
    let row: RequestRow = ["customer": .string("a"), "shop": .int64(1), "distance": .double(1)]
    let found = try await shop.hydrator.hydrate(
      HydrateRequest(vector: vector, inputs: inputs, entities: ["client", "pair"], rows: [row]))
    #expect(found.vectors[0].values[0].value == .int64(0))
    let error = await #expect(throws: PlatformError.self) {
      _ = try await shop.hydrator.hydrate(
        HydrateRequest(
          vector: vector, inputs: inputs,
          rows: [["client": .string("a"), "distence": .double(1)]]))
    }
    #expect(
      error?.message
        == "row 1 names 'distence', which nothing asked for is keyed by; expected 'customer' of entity 'client', and the inputs 'distance'; did you mean 'distance'?"
    )
  }

  @Test func `an input of another type is refused`() async throws {
    let shop = try await OpenShop()
    let vector = [ModelFeature(name: "distance", origin: .input, type: .double)]
    let inputs = [ColumnDefinition(name: "distance", type: .double)]
    let error = await #expect(throws: PlatformError.self) {
      _ = try await shop.hydrator.hydrate(
        HydrateRequest(vector: vector, inputs: inputs, rows: [["distance": .string("far")]]))
    }
    #expect(error?.message == "row 1: input 'distance' takes double, but got string")
  }
}
