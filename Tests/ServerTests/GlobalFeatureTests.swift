import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Features of everything together, lists of last values, and what is derived across views and in models.
  @Suite struct GlobalFeatureTests {
    private static let definitions = """
      project: shop
      entities:
        customer: {key: [customer_id]}
        everyone: {key: []}
      sources:
        events:
          event_time: at
          event_id: event_id
          columns: {customer_id: int64, product: string, amount: double}
      views:
        buyers:
          entity: customer
          source: events
          features:
            spent_7d: {sum: amount, window: 7d}
            last_three: {last_k: product, k: 3, window: 7d}
            kinds: {derived: len(last_three)}
            share: {derived: spent_7d / market.spent_7d}
            twice: {derived: share * 2}
        market:
          entity: everyone
          source: events
          features:
            spent_7d: {sum: amount, window: 7d}
            last_product: {latest: product}
            biggest: {max: amount, window: 7d, resolution: exact}
      models:
        taste:
          features: [buyers.twice, buyers.kinds, weight, heavy]
          inputs: {weight: double}
          derived:
            heavy: doubled > 1 and buyers.kinds >= 2
            doubled: weight * coalesce(buyers.twice, 0)

      """

    private static func with(
      environment: [String: String] = [:], _ body: (PlatformProcess) async throws -> Void
    ) async throws {
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions],
        environment: ShopProject.environment.merging(environment) { $1 }
      ) { platform in
        let applied = try await platform.rest.apply(definitions)
        #expect(applied.status == 200, "\(applied)")
        try await body(platform)
      }
    }

    private static func event(
      _ id: String, customer: Int?, product: String, amount: Double, at: String
    ) -> String {
      """
      {"event_id": "\(id)", "customer_id": \(customer.map(String.init) ?? "null"), "product": "\(product)", \
      "amount": \(amount), "at": "2026-02-28T\(at):00Z"}

      """
    }

    private static func feed(_ platform: PlatformProcess) async throws {
      let answer = try await platform.rest.push(
        "events",
        event("a", customer: 7, product: "tea", amount: 10, at: "10:00")
          + event("b", customer: 7, product: "tea", amount: 5, at: "10:01")
          + event("c", customer: 7, product: "cup", amount: 5, at: "10:02")
          + event("d", customer: 7, product: "pot", amount: 20, at: "09:00")
          + event("e", customer: 8, product: "mug", amount: 30, at: "10:03")
          // Without a customer it is nobody's, and everyone's all the same.
          + event("f", customer: nil, product: "jar", amount: 10, at: "10:04"))
      #expect(answer.status == 200, "\(answer)")
    }

    private static func values(
      _ platform: PlatformProcess, _ features: [String], _ row: String
    ) async throws -> [JSON] {
      let names = features.map { "\"\($0)\"" }.joined(separator: ", ")
      let answer = try await platform.rest.post(
        "/api/v1/features/online", #"{"features": [\#(names)], "entities": [\#(row)]}"#)
      #expect(answer.status == 200, "\(answer)")
      return answer.json["rows"]?.array?.first?["values"]?.array ?? []
    }

    @Test("features without a key are read with no key, online and with a spine of times alone")
    func withoutKey() async throws {
      try await Self.with { platform in
        try await Self.feed(platform)
        let names = ["market.spent_7d", "market.last_product", "market.biggest"]
        #expect(
          try await Self.values(platform, names, "{}")
            == [.double(80), .string("jar"), .double(30)])
        let history = try await platform.rest.post(
          "/api/v1/features/history?time=at&features=\(names.joined(separator: ","))",
          "at\n2026-02-28T09:30:00Z\n2026-03-01T00:00:00Z\n")
        #expect(
          history.text.split(separator: "\n").dropFirst().map(String.init) == [
            "2026-02-28 09:30:00+00,20.0,pot,20.0", "2026-03-01 00:00:00+00,80.0,jar,30.0",
          ], "\(history)")
        let command = try await platform.martlet("features", "get", names.joined(separator: ","))
        #expect(command.output.contains("80"), "\(command)")
        let stray = try await platform.rest.post(
          "/api/v1/features/online",
          #"{"features": ["market.spent_7d"], "entities": [{"customer_id": 7}]}"#)
        #expect(stray.status == 400, "\(stray)")
      }
    }

    @Test("a live check reads views without a key as well, also before their first event")
    func verified() async throws {
      try await Self.with { platform in
        for isFed in [false, true] {
          if isFed { try await Self.feed(platform) }
          let found = try await platform.martlet("features", "verify", "--live", "--json")
          #expect(found.status == 0, "\(found)")
          let answer = try JSON(parsing: Array(found.output.utf8))
          #expect(answer["mismatches"]?.int == 0, "\(answer)")
          // Three features of the market; of two customers each plain one and what is derived of them.
          let compared = (answer["features"]?.array ?? []).filter {
            $0["feature"]?.string?.hasPrefix("market.") ?? false
          }
          #expect(compared.compactMap { $0["compared"]?.int } == [1, 1, 1], "\(answer)")
        }
      }
    }

    @Test("the last k values come newest first, as JSON online and in a spine's file")
    func lastValues() async throws {
      try await Self.with { platform in
        try await Self.feed(platform)
        let names = ["buyers.last_three", "buyers.kinds"]
        let three: [JSON] = [.array([.string("cup"), .string("tea"), .string("tea")]), .int(3)]
        #expect(try await Self.values(platform, names, #"{"customer_id": 7}"#) == three)
        #expect(
          try await Self.values(platform, names, #"{"customer_id": 9}"#) == [.null, .null])
        let history = try await platform.rest.post(
          "/api/v1/features/history?time=at&features=\(names.joined(separator: ","))",
          "customer_id,at\n7,2026-02-28T10:00:30Z\n")
        #expect(history.text.contains(#"[""tea"",""pot""]"#), "\(history)")
      }
    }

    @Test("what is derived reads other views, keyed and not, and what is derived there")
    func derived() async throws {
      try await Self.with { platform in
        try await Self.feed(platform)
        #expect(
          try await Self.values(
            platform, ["buyers.share", "buyers.twice"], #"{"customer_id": 7}"#)
            == [.double(0.5), .double(1)])
        // A null key has no features, whatever they are derived from.
        #expect(
          try await Self.values(
            platform, ["buyers.spent_7d", "buyers.kinds", "market.spent_7d"],
            #"{"customer_id": null}"#) == [.null, .null, .double(80)])
      }
    }

    private static func erase(
      _ platform: PlatformProcess, _ entity: String, _ key: String
    ) async throws -> Answer {
      try await platform.rest.send(
        .DELETE, "/api/v1/entities/\(entity)/keys",
        .bytes(.init(string: #"{"key": \#(key)}"#)))
    }

    @Test("an erased customer leaves what everyone bought, and everyone cannot be erased")
    func erasure() async throws { try await Self.erasure([:]) }

    @Test("an erased customer leaves what everyone bought on Redis too")
    func erasureOnRedis() async throws {
      try await RedisServer.with { redis in
        try await Self.erasure([
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(redis.port)",
        ])
      }
    }

    private static func erasure(_ environment: [String: String]) async throws {
      try await Self.with(environment: environment) { platform in
        try await Self.feed(platform)
        let refused = try await Self.erase(platform, "everyone", "[]")
        #expect(refused.status == 400, "\(refused)")
        let erased = try await Self.erase(platform, "customer", "[7]")
        #expect(erased.status == 200, "\(erased)")
        #expect(
          try await Self.values(platform, ["market.spent_7d", "market.biggest"], "{}")
            == [.double(40), .double(30)])
      }
    }
  }
}
