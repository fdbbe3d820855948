import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// Python transforms of a running platform, in real workers.
  @Suite struct TransformTests {
    private static func definitions(_ transform: String) -> String {
      """
      project: orders
      entities:
        customer: {key: [customer]}
      sources:
        orders:
          event_time: at
          event_id: id
          columns: {customer: int64, amount: double, gross: double, worker: int64}
          transform: \(transform)
      """
    }

    private static let code = """
      import os
      from rates import FACTOR

      def one(amount):
          if amount < 0:
              raise ValueError(f"no amount: {amount}")
          return amount * FACTOR

      def enrich(columns):
          gross = [one(a) for a in columns["amount"]]
          return {"gross": gross, "worker": [os.getpid()] * len(gross)}
      """

    private static func with(
      _ code: String = code, transform: String = "{run: clean.py:enrich}",
      files: [String: String] = [:], _ body: (PlatformProcess) async throws -> Void
    ) async throws {
      let yaml = definitions(transform)
      let all = ["martlet.yaml": yaml, "clean.py": code, "rates.py": "FACTOR = 2.0\n"]
      try await PlatformProcess.with(files: all.merging(files) { $1 }) { platform in
        let answer = try await platform.rest.apply(yaml)
        guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
        try await body(platform)
      }
    }

    private static func order(_ id: String, _ amount: Double) -> String {
      #"{"id": "\#(id)", "customer": 1, "amount": \#(amount), "at": "2026-01-05T10:00:00Z"}"#
    }

    @Test("where every record ends its worker the batch is refused, and nothing of it is stored")
    func deadlyFunction() async throws {
      let code = """
        import os

        def enrich(columns):
            os._exit(3)
        """
      try await Self.with(code) { platform in
        let orders = (0..<20).map { Self.order("o\($0)", Double($0)) }
        let answer = try await platform.rest.push("orders", orders.joined(separator: "\n"))
        #expect(answer.status == 503 && answer.error.contains("exit status 3"), "\(answer)")
        #expect(try await platform.rest.count("SELECT count(*) FROM events_orders") == 0)
        let kept = try await platform.rest.okGet("/api/v1/quarantine?source=orders")
        #expect(!kept.text.contains("o13"), "\(kept)")
      }
    }

    @Test("parts of a file are worked on by several workers and stored in the file's order")
    func parallel() async throws {
      // Whoever comes first waits for a second process: alone it would give up.
      let code = """
        import os, pathlib, time

        def enrich(columns):
            folder = pathlib.Path(__file__).parent
            (folder / f"seen-{os.getpid()}").touch()
            end = time.monotonic() + 40
            while len(list(folder.glob("seen-*"))) < 2:
                if time.monotonic() > end:
                    raise RuntimeError("nobody else came")
            return {"worker": [os.getpid()] * len(columns["amount"])}
        """
      try await Self.with(code) { platform in
        var lines = ["id,customer,amount,at"]
        lines += (0..<40_000).map { "o\($0),\($0 % 7),\($0),2026-01-05T10:00:00Z" }
        let answer = try await platform.rest.upload(
          "orders", "orders.csv", lines.joined(separator: "\n"))
        #expect(answer.status == 200, "\(answer)")
        #expect(
          try await platform.rest.count("SELECT count(DISTINCT worker) FROM events_orders") >= 2)
        #expect(
          try await platform.rest.count(
            "SELECT count(*) FROM (SELECT amount, lag(amount) OVER (ORDER BY sequence) AS earlier "
              + "FROM events_orders) WHERE earlier >= amount") == 0)
        #expect(try await platform.rest.count("SELECT count(*) FROM events_orders") == 40_000)
      }
    }

    @Test("a record for which it raises is kept with the last line, and counts once when replayed")
    func quarantine() async throws {
      try await Self.with { platform in
        let pushed = try await platform.rest.push(
          "orders",
          [Self.order("a", 1), Self.order("b", -2), Self.order("c", 3)].joined(separator: "\n"))
        #expect(pushed.status == 200, "\(pushed)")
        let kept = try await platform.rest.rows("SELECT kind, reason FROM quarantine")
        #expect(kept.count == 1)
        #expect(kept.first?[0] == .string("transform"))
        #expect(kept.first?[1].string?.contains("ValueError: no amount: -2.0") == true)
        #expect(
          try await platform.rest.rows("SELECT gross FROM events_orders ORDER BY gross")
            == [[.double(2)], [.double(6)]])
        try platform.folder.write(
          Self.code.replacingOccurrences(of: "if amount < 0:", with: "if amount < -10:"),
          to: "project/clean.py")
        let replayed = try await platform.martlet("quarantine", "replay", "--source", "orders")
        #expect(replayed.status == 0, "\(replayed.output) \(replayed.errors)")
        #expect(
          try await platform.rest.rows("SELECT gross FROM events_orders WHERE event_id = 'b'")
            == [[.double(-4)]])
        #expect(try await platform.rest.count("SELECT count(*) FROM events_orders") == 3)
      }
    }

    @Test("it is recorded from which event on which code made the columns")
    func versions() async throws {
      try await Self.with { platform in
        _ = try await platform.rest.push("orders", Self.order("a", 1))
        _ = try await platform.rest.push("orders", Self.order("b", 1))
        try platform.folder.write("FACTOR = 3.0\n", to: "project/rates.py")
        _ = try await platform.rest.push("orders", Self.order("c", 1))
        try await platform.crash()
        try await platform.start()
        _ = try await platform.rest.push("orders", Self.order("d", 1))
        let versions = try await platform.rest.rows(
          "SELECT transform, digest, first_sequence FROM transform_versions ORDER BY first_sequence"
        )
        #expect(versions.map { $0[0] } == [.string("clean.py:enrich"), .string("clean.py:enrich")])
        #expect(versions.map { $0[2] } == [.int(1), .int(3)])
        #expect(versions.first?[1] != versions.last?[1])
        #expect(
          try await platform.rest.rows("SELECT gross FROM events_orders ORDER BY sequence")
            == [[.double(2)], [.double(2)], [.double(3)], [.double(3)]])
        let lineage = try await platform.martlet("lineage", "orders", "--json")
        #expect(lineage.output.contains("transformed_by"), "\(lineage.output)")
      }
    }

    @Test("records that end the worker are put aside, and all others are stored")
    func killers() async throws {
      let code = """
        import os

        def enrich(columns):
            if 13 in columns["amount"]:
                os._exit(3)
            return {"gross": [amount * 2 for amount in columns["amount"]]}
        """
      try await Self.with(code) { platform in
        let lines = (0..<40).map { Self.order("o\($0)", $0 % 20 == 7 ? 13 : Double($0) / 100) }
        let answer = try await platform.rest.post(
          "/api/v1/sources/orders/events", "[\(lines.joined(separator: ","))]")
        #expect(answer.status == 200, "\(answer)")
        #expect(answer["accepted"]?.int == 38 && answer["quarantined"]?.int == 2, "\(answer)")
        #expect(
          try await platform.rest.count(
            "SELECT count(*) FROM events_orders WHERE gross = amount * 2") == 38)
        let kept = try await platform.rest.rows(
          "SELECT event_id, kind FROM quarantine WHERE reason LIKE '%exit status 3%' ORDER BY event_id"
        )
        #expect(
          kept == [
            [.string("o27"), .string("transform")], [.string("o7"), .string("transform")],
          ])
      }
    }

    @Test("a worker with other versions than the pinned ones refuses and says which")
    func pins() async throws {
      try await Self.with(
        transform: "{run: clean.py:enrich, requirements: requirements.txt}",
        files: ["requirements.txt": "numpy==0.1.0\n"]
      ) { platform in
        let refused = try await platform.rest.push("orders", Self.order("a", 1))
        #expect(refused.status >= 400)
        #expect(refused.text.contains("numpy 0.1.0 is wanted and"), "\(refused)")
        let here = try await ChildProgram.run(
          PlatformProcess.python, ["-c", "import numpy; print(numpy.__version__)"],
          environment: platform.environment, directory: "/tmp")
        #expect(refused.text.contains(here.output.trimmingCharacters(in: .whitespacesAndNewlines)))
        try platform.folder.write(
          "numpy==\(here.output.trimmingCharacters(in: .whitespacesAndNewlines))\n",
          to: "project/requirements.txt")
        let taken = try await platform.rest.push("orders", Self.order("a", 1))
        #expect(taken.status == 200, "\(taken)")
        #expect(try await platform.rest.count("SELECT count(*) FROM events_orders") == 1)
      }
    }

    @Test("a trial shows what would become of a sample and stores nothing")
    func trial() async throws {
      try await Self.with { platform in
        try platform.folder.write(
          "id,customer,amount,at\na,1,5,2026-01-05T10:00:00Z\nb,1,-7,2026-01-05T10:00:00Z\nc,1,x,2026-01-05T10:00:00Z\n",
          to: "orders.csv")
        let trial = try await platform.martlet(
          "test-transform", "orders", "\(platform.folder.path)/orders.csv", "--json")
        #expect(trial.status == 1)
        let answer = try JSON(parsing: Array(trial.output.utf8))
        #expect(answer["rows"] == .int(2) && answer["invalid"] == .int(1), "\(trial.output)")
        let failure = answer["failures"]?.array?.first
        #expect(failure?["error"] == .string("ValueError: no amount: -7.0"))
        #expect(failure?["traceback"]?.string?.contains("in one") == true)
        #expect(answer["after"]?["rows"]?.array?.first?.array?.first == .double(10))
        let shown = try await platform.martlet(
          "test-transform", "orders", "\(platform.folder.path)/orders.csv", "--rows", "1")
        #expect(shown.status == 0, "\(shown.errors)")
        #expect(shown.output.contains("gross") && shown.output.contains("batches: 1 in"))
        #expect(try await platform.rest.count("SELECT count(*) FROM events_orders") == 0)
        #expect(try await platform.rest.count("SELECT count(*) FROM quarantine") == 0)

        _ = try await platform.rest.push("orders", Self.order("s", 4))
        try platform.folder.write(
          "def enrich(columns):\n    return {'gross': ['x'] * len(columns['amount']), 'nett': columns['amount']}\n",
          to: "project/clean.py")
        let stored = try await platform.martlet("test-transform", "orders")
        #expect(stored.status == 1)
        #expect(stored.output.contains("is string and declared as double"), "\(stored.output)")
        #expect(stored.output.contains("is not declared"))
      }
    }
  }
}
