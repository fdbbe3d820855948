import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// `martlet replay` against a running platform and a cluster.
  @Suite struct ReplayCommandTests {
    private static func csv(_ rows: Int) -> String {
      "customer_id,n,amount,at\n"
        + (0..<rows).map { row in
          "\(row % OrderStream.customers),\(row),10,2026-02-2\(row % 8 + 1)T10:00:00Z\n"
        }.joined()
    }

    private func json(_ result: ProgramResult) throws -> JSON {
      try JSON(parsing: Array(result.output.utf8))
    }

    @Test("pushes count once although some are sent twice, late and out of order")
    func push() async throws {
      let yaml = OrderStream.definitions()
      try await PlatformProcess.with(
        files: ["martlet.yaml": yaml, "orders.csv": Self.csv(3_000)],
        environment: ShopProject.environment
      ) { platform in
        _ = try await platform.rest.apply(yaml)
        let file = "\(platform.project)/orders.csv"
        for round in 1...2 {
          let result = try await platform.martlet(
            "replay", file, "--source", "orders", "--duplicates", "5%", "--disorder", "2%:50",
            "--late", "3%:1d", "--seed", "9", "--json")
          #expect(result.status == 0, "\(result)")
          let summary = try json(result)
          let twice = summary["duplicates"]?.int ?? 0
          #expect((100...200).contains(twice) && (summary["late"]?.int ?? 0) > 40, "\(result)")
          #expect(summary["sent"]?.int == 3_000 + twice)
          // The same options and seed are the same stream: the second time nothing is new.
          #expect(summary["accepted"]?.int == (round == 1 ? 3_000 : 0), "\(result)")
        }
        #expect(try await platform.rest.stored() == 3_000)
        #expect(
          try await platform.rest.count("SELECT count(DISTINCT n) FROM events_orders") == 3_000)
      }
    }

    @Test("a drifting column changes from its point on, and dates can be moved to now")
    func drift() async throws {
      let yaml = OrderStream.definitions()
      try await PlatformProcess.with(files: ["martlet.yaml": yaml, "orders.csv": Self.csv(800)]) {
        platform in
        _ = try await platform.rest.apply(yaml)
        let result = try await platform.martlet(
          "replay", "\(platform.project)/orders.csv", "--source", "orders", "--drift",
          "amount*3@50%", "--redate", "--limit", "400", "--rate", "4000")
        #expect(result.status == 0, "\(result)")
        let amounts = try await platform.rest.rows(
          "SELECT amount, count(*), epoch_us(max(event_timestamp)) > epoch_us(now()) - 600000000 FROM events_orders GROUP BY 1 ORDER BY 1"
        )
        #expect(amounts.map { $0[1] } == [.int(200), .int(200)], "\(amounts)")
        #expect(amounts.map { $0[0].number } == [10, 30])
        #expect(amounts.last?[2] == .bool(true), "\(amounts)")
        #expect(
          try await platform.rest.count(
            "SELECT count(*) FROM events_orders WHERE epoch_us(event_timestamp) > epoch_us(now())")
            == 0)
      }
    }

    @Test("to Kafka, records without ids count once however often they are sent")
    func kafka() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
        try await OrderStream.withPlatform(cluster) { platform in
          try platform.folder.write(Self.csv(2_000), to: "project/orders.csv")
          for _ in 1...2 {
            let result = try await platform.martlet(
              "replay", "\(platform.project)/orders.csv", "--source", "orders", "--to", "kafka",
              "--duplicates", "10%", "--speed", "10000000x", "--json")
            #expect(result.status == 0, "\(result)")
            #expect(try json(result)["sent"]?.int ?? 0 > 2_100, "\(result)")
          }
          try await waitUntil("all is stored") { try await platform.rest.stored() >= 2_000 }
          try await waitUntil("all is read") {
            try await platform.rest.count("SELECT sum(next_offset)::BIGINT FROM stream_offsets")
              > 4_200
          }
          #expect(try await platform.rest.stored() == 2_000)
        }
      }
    }

    @Test("options that make no stream are refused with what to write")
    func refused() async throws {
      let yaml = OrderStream.definitions()
      let platform = try PlatformProcess(
        files: ["martlet.yaml": yaml, "orders.csv": Self.csv(10), "orders.txt": "x"])
      let file = "\(platform.project)/orders.csv"
      for (options, status, text) in [
        (["--rate", "0"], 2, "--rate is a number of records"),
        (["--rate", "5", "--speed", "2x"], 2, "not both"),
        (["--speed", "fast"], 2, "as in 60x"),
        (["--late", "5%"], 2, "as in 2%:10m"),
        (["--duplicates", "200%"], 2, "as in 1%"),
        (["--disorder", "5%:0"], 2, "as in 5%:100"),
        (["--topic", "x"], 2, "--to kafka"),
        (["--to", "kafka"], 1, "set kafka.brokers"),
        (["--drift", "amount*2"], 1, "COLUMN*FACTOR@START"),
        (["--drift", "amonut*2@50%"], 1, "'amount'"),
      ] {
        let arguments = ["replay", file, "--source", "orders"] + options
        let result = try await platform.run(arguments)
        #expect(
          (result.status != 0) && (status != 2 || result.status == 2)
            && result.errors.contains(text), "\(options): \(result)")
      }
      let unknown = try await platform.run(["replay", file, "--source", "order"])
      #expect(unknown.errors.contains("'orders'"), "\(unknown)")
      let nameless = try await platform.run(
        ["replay", "\(platform.project)/orders.txt", "--source", "orders"])
      #expect(nameless.errors.contains("--format"), "\(nameless)")
      try await platform.remove()
    }
  }

  /// `martlet backup` and `restore` without Kafka.
  @Suite struct BackupTests {
    @Test("a backup that is taken under load is whole, and a restored platform goes on with it")
    func underLoad() async throws {
      try await ShopProject.with { platform in
        let events = AcknowledgedEvents()
        let rest = platform.rest
        var stored: Int64 = 0
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<2 { group.addTask { await events.produce(to: rest) } }
          for round in 1...3 {
            let goal = round * 10
            try await waitUntil("\(goal) batches") { events.batches >= goal }
            stored = try await rest.count("SELECT count(*) FROM events_events")
            let made = try await platform.martlet("backup", "b\(round)")
            #expect(made.status == 0, "\(made)")
          }
          // Ends the producers: their platform is gone.
          #expect(try await platform.stop() == 0)
          try await group.waitForAll()
        }
        let again = try await platform.martlet(
          "restore", "\(platform.data)/backups/b3", "--replace", "--json")
        #expect(again.status == 0, "\(again)")
        try await platform.start()
        let restored = try await platform.rest.count("SELECT count(*) FROM events_events")
        #expect(restored >= stored && restored > 0)
        let online = try await platform.rest.rows(
          "SELECT customer_id, count(*) FROM events_events GROUP BY 1 ORDER BY 1")
        for row in online {
          let read = try await platform.rest.online(
            ["activity.events_7d"], #"{"customer_id": \#(row[0].text)}"#)
          #expect(read.first == row[1])
        }
      }
    }

    @Test("a backup that was changed or is not whole is refused, and nothing is touched")
    func damaged() async throws {
      try await ShopProject.with { platform in
        _ = try await platform.rest.push(
          "events", ShopProject.event("e1", customer: 1, at: "2026-02-28T10:00:00Z"))
        for bad in ["../x", ".hidden", "a/b", ""] {
          let refused = try await platform.rest.post(
            "/api/v1/backups", JSON.object(["name": .string(bad)]).text)
          #expect(refused.status == 400, "\(bad): \(refused)")
        }
        #expect(try await platform.martlet("backup", "one").status == 0)
        #expect(try await platform.martlet("backup", "one").errors.contains("already"))
        #expect(try await platform.stop() == 0)
        let folder = "\(platform.data)/backups/one"
        let file = try #require(FileHandle(forWritingAtPath: "\(folder)/warehouse.duckdb"))
        try file.seek(toOffset: 5_000)
        try file.write(contentsOf: Data("damage".utf8))
        try file.close()
        let result = try await platform.martlet("restore", folder, "--replace")
        #expect(
          result.status != 0 && result.errors.contains("is not what the backup had"), "\(result)")
        try await platform.start()
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 1)
      }
    }
  }
}

extension PlatformProcess {
  /// Runs a command of the program.
  fileprivate func run(_ arguments: [String]) async throws -> ProgramResult {
    try await ChildProgram.run(
      Self.executable, arguments, environment: environment, directory: folder.path)
  }
}
