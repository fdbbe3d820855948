import Core
import Foundation
import Synchronization
import TestKit
import Testing

extension WholeProgram {
  /// Two platforms with a warehouse each that fill the same views in one Redis: an erasure is one of both, or of none.
  @Suite struct SharedErasureTests {
    private static let definitions = """
      project: shop
      entities:
        customer: {key: [customer_id]}
        product: {key: [product]}
      sources:
        events:
          event_time: at
          event_id: event_id
          columns: {customer_id: int64, product: string, amount: double}
      views:
        buyers:
          entity: customer
          source: events
          features: {bought_7d: {count: "*", window: 7d}}
        demand:
          entity: product
          source: events
          features: {sold_7d: {count: "*", window: 7d}, most_7d: {max: amount, window: 7d}}

      """

    /// Customer n buys n hundred times in each process, tea and milk by turns, for n each.
    private static let customers = 4

    private static func rows(_ customer: Int, in process: String) -> [String] {
      (0..<customer * 100).map { number in
        let product = number % 2 == 0 ? "tea" : "milk"
        return
          #"{"event_id": "\#(process)-\#(customer)-\#(number)", "customer_id": \#(customer), "product": "\#(product)", "amount": \#(customer), "at": "2026-02-28T10:00:00Z"}"#
      }
    }

    private static func with(
      _ body: (_ one: PlatformProcess, _ other: PlatformProcess) async throws -> Void
    ) async throws {
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        let environment = ShopProject.environment.merging([
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(redis.port)",
        ]) { $1 }
        let files = ["martlet.yaml": definitions]
        try await PlatformProcess.with(files: files, environment: environment) { one in
          try await PlatformProcess.with(files: files, environment: environment) { other in
            for (name, platform) in [("a", one), ("b", other)] {
              #expect(try await platform.rest.apply(definitions).status == 200)
              let rows = (1...customers).flatMap { Self.rows($0, in: name) }
              let answer = try await platform.rest.upload(
                "events", "\(name).jsonl", rows.joined(separator: "\n"))
              #expect(answer.status == 200, "\(answer)")
            }
            try await body(one, other)
          }
        }
      }
    }

    /// What each customer, tea and milk have; nil where the platform says to try again.
    private static func read(_ platform: PlatformProcess) async throws -> [JSON]? {
      let answer = try await platform.rest.post(
        "/api/v1/features/online",
        #"{"features": ["buyers.bought_7d"], "entities": [\#((1...customers).map { #"{"customer_id": \#($0)}"# }.joined(separator: ", "))]}"#
      )
      let products = try await platform.rest.post(
        "/api/v1/features/online",
        #"{"features": ["demand.sold_7d", "demand.most_7d"], "entities": [{"product": "tea"}, {"product": "milk"}]}"#
      )
      if answer.status == 503 || products.status == 503 { return nil }
      guard answer.status == 200, products.status == 200 else {
        throw Refused(request: "read", answer: answer)
      }
      return [answer.json, products.json].flatMap { $0["rows"]?.array ?? [] }
        .flatMap { $0["values"]?.array ?? [] }
    }

    /// What `read` says where these customers were erased.
    private static func expected(without erased: Set<Int> = []) -> [JSON] {
      let left = (1...customers).filter { !erased.contains($0) }
      let sold = JSON.int(Int64(left.reduce(0) { $0 + $1 * 100 }))
      let most = left.max().map { JSON.double(Double($0)) } ?? .null
      return (1...customers).map { .int(erased.contains($0) ? 0 : Int64($0 * 200)) }
        + [sold, most, sold, most]
    }

    /// Every feature of a customer and a product is as it was before, or as it is to be.
    private static func isWhole(_ found: [JSON], _ erased: Int) -> Bool {
      let (before, after) = (expected(), expected(without: [erased]))
      return found.indices.allSatisfy { found[$0] == before[$0] || found[$0] == after[$0] }
    }

    private static func erase(
      _ platform: PlatformProcess, _ customer: Int, withoutAbsent: Bool = false
    ) async throws -> Answer {
      try await platform.rest.send(
        .DELETE, "/api/v1/entities/customer/keys",
        .bytes(.init(string: #"{"key": [\#(customer)], "without_absent": \#(withoutAbsent)}"#)))
    }

    private static func stored(_ platform: PlatformProcess, _ customer: Int) async throws -> Int64 {
      try await platform.rest.count(
        "SELECT count(*) FROM events_events WHERE customer_id = \(customer)")
    }

    private static func newest(_ platform: PlatformProcess) async throws -> JSON? {
      try await platform.rest.okGet("/api/v1/erasures")["erasures"]?.array?.first
    }

    /// What two readers see until the erasure is over.
    private final class Watch: Sendable {
      let isErased = Atomic<Bool>(false)
      let faults = Mutex<[String]>([])
    }

    @Test("an erasure in one is one of both, and nobody reads a part of another key meanwhile")
    func both() async throws {
      try await Self.with { one, other in
        #expect(try await Self.read(one) == Self.expected())
        let watch = Watch()
        try await withThrowingTaskGroup(of: Void.self) { group in
          for platform in [one, other] {
            group.addTask {
              var last = false
              repeat {
                last = watch.isErased.load(ordering: .acquiring)
                guard let found = try await Self.read(platform) else { continue }
                if !Self.isWhole(found, 2) { watch.faults.withLock { $0.append("\(found)") } }
              } while !last
            }
          }
          let answer = try await Self.erase(one, 2)
          watch.isErased.store(true, ordering: .releasing)
          #expect(answer.status == 200, "\(answer)")
          let receipt = answer.json
          #expect(receipt["state"]?.string == "done", "\(receipt)")
          #expect(receipt["removed"]?["events_events"]?.int == 200, "\(receipt)")
          #expect(receipt["removed"]?["online.buyers"]?.int == 1, "\(receipt)")
          #expect(receipt["rebuilt_keys"]?.int == 2, "\(receipt)")
          let share = receipt["processes"]?.array?.first
          #expect(share?["state"]?.string == "done", "\(receipt)")
          #expect(share?["removed"]?["events_events"]?.int == 200, "\(receipt)")
          for platform in [one, other] {
            #expect(try await Self.read(platform) == Self.expected(without: [2]))
            #expect(try await Self.stored(platform, 2) == 0)
          }
          try await group.waitForAll()
        }
        #expect(watch.faults.withLock { $0 } == [])
        #expect(try await Self.newest(other)?["id"] == Self.newest(one)?["id"])
        // Old input does not bring it back, in either.
        let old = Self.rows(2, in: "b")[0]
        #expect(try await other.rest.push("events", old)["erased"]?.int == 1)
        let new = Self.rows(3, in: "c")[0]
        #expect(try await other.rest.push("events", new)["accepted"]?.int == 1)
        #expect(try await Self.read(one)?[2] == .int(601))
      }
    }

    @Test(
      "while a process is away nothing is erased; where it is said, that process does its part when it is back"
    )
    func away() async throws {
      try await Self.with { one, other in
        #expect(try await other.stop() == 0)
        let refused = try await Self.erase(one, 2)
        #expect(refused.status == 412 || refused.status == 409, "\(refused)")
        #expect("\(refused)".contains("nothing was erased"), "\(refused)")
        #expect("\(refused)".contains(other.folder.path), "\(refused)")
        #expect(try await Self.stored(one, 2) == 200)
        #expect(try await Self.read(one) == Self.expected())

        let erased = try await one.martlet("erase", "customer", "2", "--yes", "--without-absent")
        #expect(erased.status == 0 && "\(erased)".contains("not done yet"), "\(erased)")
        let receipt = try #require(try await Self.newest(one))
        #expect(receipt["state"]?.string == "waiting", "\(receipt)")
        #expect(receipt["note"]?.string?.contains(other.folder.path) == true, "\(receipt)")
        #expect(try await Self.stored(one, 2) == 0)
        // The key is gone, and what others have is as it was.
        var expected = Self.expected()
        expected[1] = .int(0)
        #expect(try await Self.read(one) == expected)

        try await other.start()
        try await waitUntil("the erasure has ended") {
          try await Self.newest(one)?["state"]?.string == "done"
        }
        for platform in [one, other] {
          #expect(try await Self.read(platform) == Self.expected(without: [2]))
          #expect(try await Self.stored(platform, 2) == 0)
        }
      }
    }

    @Test(
      "kill -9 of either process in the middle of an erasure: it ends when both are there, or never began"
    )
    func kills() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      try await Self.with { one, other in
        var erased: Set<Int> = []
        for customer in 1..<Self.customers {
          let victim = Bool.random(using: &random) ? one : other
          let reads = Int.random(in: 0...12, using: &random)
          async let answer = try? await Self.erase(one, customer)
          for _ in 0..<reads { _ = try? await Self.read(victim === one ? other : one) }
          try await victim.crash()
          _ = await answer
          try await victim.start()
          try await waitUntil("seed \(seed): both answer") {
            let states = [try? await Self.read(one), try? await Self.read(other)]
            return states.allSatisfy { $0 != nil }
          }
          let begun = try await Self.stored(one, customer) == 0
          if !begun { #expect(try await Self.read(one) == Self.expected(without: erased)) }
          if !begun { #expect(try await Self.erase(one, customer).status == 200, "seed \(seed)") }
          erased.insert(customer)
          let expected = Self.expected(without: erased)
          try await waitUntil("seed \(seed): customer \(customer) is erased in both") {
            let state = try await Self.newest(one)?["state"]?.string
            let found = [try await Self.read(one), try await Self.read(other)]
            let left = try await Self.stored(one, customer) + Self.stored(other, customer)
            return state == "done" && left == 0 && found.allSatisfy { $0 == expected }
          }
        }
      }
    }
  }
}
