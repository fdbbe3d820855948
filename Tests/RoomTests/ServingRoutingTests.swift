import Core
import Serving
import TestKit
import Testing

@Suite("Routing by key")
struct ServingRoutingTests {
  private static let customers = ServingSample.model()

  private func key(_ model: ModelDefinition = customers) -> RoutingKey {
    RoutingKey(model, entities: [EntityDefinition(name: "customer", key: ["customer_id"])])
  }

  private func table(_ share: Double) -> RouteTable {
    let metrics = ModelMetrics(model: "churn")
    return RouteTable(
      production: ServedModel(ServingSample.version(1), metrics: metrics),
      canary: RouteTable.Canary(
        version: 2, share: share,
        served: ServedModel(ServingSample.version(2, .canary), metrics: metrics)),
      shadow: nil)
  }

  /// The numbers of those of 100,000 keys that a canary of this share answers.
  private func canary(_ share: Double, _ row: (Int64) -> RequestRow) -> Set<Int64> {
    let table = table(share)
    let key = key()
    return Set(
      (0..<100_000 as Range<Int64>).filter { number in
        table.choose(at: key.position(of: row(number), requestID: "r")).target == .canary
      })
  }

  private func numbered(_ number: Int64) -> RequestRow { ["customer_id": .int64(number)] }

  @Test("of 100,000 keys 10 % ± 0.3 go to a canary of 10 %, whatever they look like")
  func uniform() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    let salt = random.next()
    let shapes: [(String, (Int64) -> RequestRow)] = [
      ("numbers in a row", { ["customer_id": .int64($0)] }),
      ("numbers far apart", { ["customer_id": .int64($0 &* 4_294_967_296)] }),
      ("texts", { ["customer_id": .string("user_\($0)")] }),
      ("salted texts", { ["customer_id": .string("\(salt)-\($0)")] }),
    ]
    for (name, row) in shapes {
      let share = Double(canary(0.1, row).count) / 100_000
      #expect(abs(share - 0.1) <= 0.003, "\(name): \(share), seed \(seed)")
    }
  }

  @Test("from 10 % to 20 % only new keys go to the canary, and none of the old leaves it")
  func monotone() {
    let tenth = canary(0.1, numbered)
    let fifth = canary(0.2, numbered)
    #expect(tenth.isSubset(of: fifth))
    #expect(abs(Double(fifth.count) / 100_000 - 0.2) <= 0.004)
  }

  @Test("any greater share only adds keys, for random shares and keys")
  func monotoneByProperty() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    let key = key()
    for _ in 0..<20_000 {
      let shares = [random.unit(), random.unit()].sorted()
      let row: RequestRow = [
        "customer_id": random.chance(0.5)
          ? .int64(Int64(bitPattern: random.next())) : .string("\(random.next())")
      ]
      let position = key.position(of: row, requestID: "r")
      #expect((0..<1).contains(position), "seed \(seed)")
      let small = table(shares[0]).choose(at: position).target
      let large = table(shares[1]).choose(at: position).target
      #expect(small == .production || large == .canary, "seed \(seed)")
    }
  }

  /// Worked out by another program (Python), from the description of the hash.
  @Test("a key lies where it lay in every other process, on every other platform")
  func stable() {
    let expected: [(RequestRow, String, Double)] = [
      (["customer_id": .int64(7)], "r", 0.594688228405117),
      (["customer_id": .int64(-9_000_000_000)], "r", 0.2077057594102002),
      (["customer_id": .string("Zoë")], "r", 0.7057676265517485),
      (["customer_id": .string("")], "r", 0.32098714836808917),
      (["basket": .double(2)], "req-1", 0.8596191830856665),
    ]
    for (row, request, position) in expected {
      #expect(key().position(of: row, requestID: request) == position, "\(row)")
    }
    var composite = Self.customers
    composite.entities = ["route"]
    let route = RoutingKey(
      composite, entities: [EntityDefinition(name: "route", key: ["origin", "dest"])])
    let row: RequestRow = ["origin": .string("JFK"), "dest": .string("LAX")]
    #expect(route.position(of: row, requestID: "") == 0.11010015208021096)
  }

  @Test("the parts of a composite key stay apart, and models draw their keys apart")
  func apart() {
    var composite = Self.customers
    composite.entities = ["pair"]
    let entities = [EntityDefinition(name: "pair", key: ["a", "b"])]
    let pairs = RoutingKey(composite, entities: entities)
    let one = pairs.position(of: ["a": .int64(1), "b": .int64(23)], requestID: "")
    let other = pairs.position(of: ["a": .int64(12), "b": .int64(3)], requestID: "")
    #expect(one != other)
    var second = composite
    second.name = "other"
    let elsewhere = RoutingKey(second, entities: entities)
    #expect(elsewhere.position(of: ["a": .int64(1), "b": .int64(23)], requestID: "") != one)
  }

  @Test("a whole number is one key however its client writes it, by its column or by its entity")
  func written() {
    let forms: [RequestRow] = [
      ["customer_id": .int64(7)], ["customer_id": .double(7)], ["customer_id": .string("7")],
      ["customer": .int64(7)],
    ]
    #expect(Set(forms.map { key().position(of: $0, requestID: "r") }).count == 1)
  }

  @Test("a row that names no entity goes by the id of its request")
  func withoutEntity() {
    let row: RequestRow = ["basket": .double(2)]
    #expect(key().position(of: row, requestID: "a") == key().position(of: row, requestID: "a"))
    #expect(key().position(of: row, requestID: "a") != key().position(of: row, requestID: "b"))
  }

  @Test(
    "a canary that is not loaded falls back, and says why; only one that cannot be loaded has failed"
  )
  func falls() {
    let production = ServedModel(ServingSample.version(1), metrics: ModelMetrics(model: "churn"))
    func choice(_ failure: String?) -> RouteTable.Choice {
      RouteTable(
        production: production,
        canary: RouteTable.Canary(version: 2, share: 0.5, served: nil, failure: failure),
        shadow: nil
      ).choose(at: 0.2)
    }
    #expect(choice(nil).route == Route(.fallback, "version 2 is still being loaded"))
    #expect(choice(nil).failed == nil)
    #expect(choice("no file").route == Route(.fallback, "version 2 cannot be loaded: no file"))
    #expect(choice("no file").failed == 2)
    #expect(table(0.5).choose(at: 0.2).route.why == "the key is in the 50 % of version 2")
    #expect(table(0.005).choose(at: 0.2).route.why == "the key is not in the 0.5 % of version 2")
  }
}
