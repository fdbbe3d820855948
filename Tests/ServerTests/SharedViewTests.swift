import Core
import TestKit
import Testing

extension WholeProgram {
  /// Two platforms with a warehouse each that fill the same views in one Redis: neither takes its part for all of it.
  @Suite struct SharedViewTests {
    private static func with(
      _ body: (_ one: PlatformProcess, _ other: PlatformProcess) async throws -> Void
    ) async throws {
      try await RedisServer.with { redis in
        let environment = [
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(redis.port)",
        ]
        try await ShopProject.with(environment: environment) { one in
          try await ShopProject.with(environment: environment) { other in
            for (platform, name, counts) in [(one, "a", [3, 4]), (other, "b", [2, 1])] {
              for (index, count) in counts.enumerated() {
                for number in 0..<count {
                  let event = ShopProject.event(
                    "\(name)\(index)-\(number)", customer: index + 1, amount: 1,
                    at: "2026-02-28T10:00:00Z")
                  #expect(try await platform.rest.push("events", event).status == 200)
                }
              }
            }
            try await body(one, other)
          }
        }
      }
    }

    private static func counts(_ platform: PlatformProcess) async throws -> [Int64?] {
      let answer = try await platform.rest.post(
        "/api/v1/features/online",
        #"{"features": ["activity.events_7d"], "entities": [{"customer_id": 1}, {"customer_id": 2}]}"#
      )
      return (answer["rows"]?.array ?? []).map { $0["values"]?.array?[0].int }
    }

    @Test("what one warehouse cannot know is refused, and the views stay as they are")
    func refused() async throws {
      try await Self.with { one, other in
        #expect(try await Self.counts(one) == [5, 5])
        for arguments in [
          ["features", "verify", "--live"], ["features", "rebuild"],
          ["features", "rebuild", "--verify"], ["backfill", "activity"],
        ] {
          let refused = try await ChildProgram.run(
            PlatformProcess.executable, arguments, environment: one.environment,
            directory: one.folder.path)
          #expect(refused.status != 0, "\(arguments): \(refused)")
          #expect(
            "\(refused)".contains("other platforms fill 'activity' too"), "\(arguments): \(refused)"
          )
        }
        #expect(try await Self.counts(one) == [5, 5])
        #expect(try await Self.counts(other) == [5, 5])
      }
    }
  }
}
