import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// History as files, by both clocks.
  @Suite struct HistoryReadTests {
    private static let query =
      "features=activity.last_amount,activity.events_7d&time=at"
    /// The second row's instant lies between the event and its correction.
    private static let spine = """
      customer_id,at,note
      7,2026-02-25T00:00:00Z,before
      7,2026-03-02T00:00:00Z,between
      7,2026-03-09T00:00:00Z,after
      8,2026-03-02T00:00:00Z,stranger

      """

    @Test(
      "a spine without rows has an answer without rows, and a feature asked for twice is one column"
    )
    func emptyAndTwice() async throws {
      try await ShopProject.with { platform in
        try await Self.feed(platform)
        let head = "customer_id,at,note"
        let names = "activity.last_amount,activity.events_7d"
        let path = "/api/v1/features/history?\(Self.query)"
        let empty = try await platform.rest.post(path, head + "\n")
        #expect(empty.status == 200, "\(empty)")
        #expect(empty.text == "\(head),\(names)\n")
        #expect(empty.headers.first(name: "martlet-rows") == "0")
        let sql = "SELECT customer_id, event_timestamp AS at FROM events_events WHERE false;"
        let none = try await platform.rest.post(path + "&spine_format=sql", sql)
        #expect(none.status == 200 && none.text == "customer_id,at,\(names)\n", "\(none)")
        let parquet = try await platform.rest.post(path + "&format=parquet", head + "\n")
        #expect(parquet.status == 200 && parquet.body.starts(with: "PAR1".utf8), "\(parquet)")
        let same = try await platform.rest.post(
          "/api/v1/features/history?time=at&features=activity.mean_7d&spine_format=parquet",
          bytes: parquet.body)
        #expect(
          same.status == 200 && same.text == "\(head),\(names),activity.mean_7d\n", "\(same)")
        let twice = try await platform.rest.post(
          "/api/v1/features/history?time=at&features=\(names),activity.last_amount", Self.spine)
        #expect(twice.text.hasPrefix("\(head),\(names)\n"), "\(twice)")
        #expect(Self.table(twice.text).count == 5)
        let nothing = try await platform.rest.post(path, "")
        #expect(nothing.status == 400, "\(nothing)")
      }
    }

    /// An event, and a week later its correction.
    private static func feed(_ platform: PlatformProcess) async throws {
      let at = "2026-02-28T10:00:00Z"
      _ = try await platform.rest.push(
        "events", ShopProject.event("a", customer: 7, amount: 10, at: at))
      try await platform.rest.moveClock("2026-03-08T00:00:00Z")
      _ = try await platform.rest.push(
        "events", ShopProject.event("b", customer: 7, amount: 99, at: at))
      try await platform.rest.moveClock("2026-03-10T00:00:00Z")
    }

    private static func table(_ csv: String) -> [[String]] {
      csv.split(separator: "\n").map { line in
        line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      }
    }

    private static func amounts(_ csv: String) -> [Double?] {
      let table = table(csv)
      guard let column = table.first?.firstIndex(of: "activity.last_amount") else { return [] }
      return table.dropFirst().map { Double($0[column]) }
    }

    @Test("as corrected, history tells what is known now; as known, what was known then")
    func bothClocks() async throws {
      try await ShopProject.with { platform in
        try await Self.feed(platform)
        let path = "/api/v1/features/history?\(Self.query)"
        let corrected = try await platform.rest.post(path, Self.spine)
        #expect(corrected.status == 200, "\(corrected)")
        #expect(Self.amounts(corrected.text) == [nil, 99, 99, nil], "\(corrected)")
        let known = try await platform.rest.post(path + "&mode=as_known", Self.spine)
        #expect(Self.amounts(known.text) == [nil, 10, 99, nil], "\(known)")
      }
    }

    @Test("history keeps the spine's rows, their order and their other columns")
    func keepsTheSpine() async throws {
      try await ShopProject.with { platform in
        try await Self.feed(platform)
        let answer = try await platform.rest.post(
          "/api/v1/features/history?\(Self.query)", Self.spine)
        let table = Self.table(answer.text)
        #expect(
          table.first == [
            "customer_id", "at", "note", "activity.last_amount", "activity.events_7d",
          ])
        #expect(
          table.dropFirst().map { $0.count > 2 ? $0[2] : "" } == [
            "before", "between", "after", "stranger",
          ])
      }
    }

    @Test("history over gRPC is the same file")
    func overGRPC() async throws {
      try await ShopProject.with { platform in
        try await Self.feed(platform)
        let rest = try await platform.rest.post(
          "/api/v1/features/history?\(Self.query)&mode=as_known", Self.spine)
        let wire = try await platform.withGRPC { client in
          var request = Martlet_V1_GetHistoryRequest()
          request.features = ["activity.last_amount", "activity.events_7d"]
          request.spine = .init(Self.spine.utf8)
          request.format = "csv"
          request.timeColumn = "at"
          request.mode = "as_known"
          return try await client.features.getHistory(request) { response in
            var bytes: [UInt8] = []
            for try await piece in response.messages { bytes += piece.chunk }
            return String(decoding: bytes, as: UTF8.self)
          }
        }
        #expect(wire == rest.text)
      }
    }

    @Test("an error of a spine calls it what its owner calls it, never by a path of the platform")
    func namesOfTheSpine() async throws {
      try await ShopProject.with { platform in
        let bad = "customer_id,at\n7,yesterday\n"
        let path = "/api/v1/features/history?\(Self.query)"
        for (query, body, says) in [
          ("", bad, "the spine: 'yesterday'"),
          ("&spine_name=march.csv", bad, "march.csv: 'yesterday'"),
          ("&spine_name=march.csv", "", "march.csv"),
          ("&spine_name=march.parquet&spine_format=parquet", bad, "march.parquet"),
        ] {
          let answer = try await platform.rest.post(path + query, body)
          #expect(answer.status == 400, "\(answer)")
          #expect(answer.error.contains(says), "\(says) in \(answer.error)")
          #expect(!answer.error.contains("spool"), "\(answer.error)")
        }
        try platform.folder.write(bad, to: "april.csv")
        let run = try await platform.martlet(
          "features", "history", "--spine", "april.csv", "--time", "at", "--features",
          "activity.events_7d", "--output", "out.csv")
        #expect(run.status == 2, "\(run)")
        #expect(run.errors.contains("april.csv: 'yesterday'"), "\(run)")
      }
    }

    @Test("a Parquet spine gives a Parquet answer with the same values")
    func parquet() async throws {
      try await ShopProject.with { platform in
        try await Self.feed(platform)
        try platform.folder.write(Self.spine, to: "spine.csv")
        try await Self.duckDB(
          "COPY (FROM read_csv('spine.csv')) TO 'spine.parquet' (FORMAT parquet)", platform)
        let spine =
          FileManager.default.contents(atPath: "\(platform.folder.path)/spine.parquet") ?? Data()
        let query = "\(Self.query)&spine_format=parquet&format=parquet&mode=as_known"
        let answer = try await platform.rest.post(
          "/api/v1/features/history?\(query)", bytes: [UInt8](spine))
        #expect(answer.status == 200, "\(answer)")
        try Data(answer.body).write(
          to: URL(fileURLWithPath: "\(platform.folder.path)/answer.parquet"))
        try await Self.duckDB(
          "COPY (FROM 'answer.parquet') TO 'answer.csv' (HEADER, DELIMITER ',')", platform)
        #expect(Self.amounts(platform.folder.text("answer.csv")) == [nil, 10, 99, nil])
      }
    }

    @Test("what history says as known is what online reads answered at that time")
    func parity() async throws {
      try await ShopProject.with { platform in
        try await ShopProject.feed(platform.rest)
        let features = [
          "activity.last_kind", "activity.events_7d", "activity.spend_7d", "activity.buys_7d",
        ]
        let spine =
          "customer_id,at\n" + (0..<40).map { "\($0),2026-03-01T00:00:00Z\n" }.joined()
        let history = try await platform.rest.post(
          "/api/v1/features/history?features=\(features.joined(separator: ","))&time=at&mode=as_known",
          spine)
        #expect(history.status == 200, "\(history)")
        for row in Self.table(history.text).dropFirst() {
          let online = try await platform.rest.online(features, #"{"customer_id": \#(row[0])}"#)
          #expect(online[0].string ?? "" == row[2])
          for column in 1..<4 {
            #expect(
              online[column].number == Double(row[column + 2]),
              "customer \(row[0]), \(features[column])")
          }
        }
      }
    }

    static func duckDB(_ sql: String, _ platform: PlatformProcess) async throws {
      let result = try await ChildProgram.run(
        PlatformProcess.python, ["-c", "import duckdb, sys; duckdb.sql(sys.argv[1])", sql],
        environment: [:], directory: platform.folder.path)
      guard result.status == 0 else { throw Disappointment("\(sql): \(result)") }
    }
  }
}
