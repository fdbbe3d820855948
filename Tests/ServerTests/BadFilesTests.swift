import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import TestKit
import Testing

extension WholeProgram {
  /// Files that are damaged, empty, enormous or cut off.
  @Suite(.sharedPlatform) struct BadFilesTests {
    private static let header = "event_id,customer_id,kind,amount,at\n"

    private static func stored(_ prefix: String) async throws -> Int64 {
      try await SharedPlatform.current.rest.count(
        "SELECT count(*) FROM events_events WHERE starts_with(event_id, '\(prefix)')")
    }

    @Test("a truncated Parquet file is refused, and nothing of it is stored")
    func truncatedParquet() async throws {
      let platform = try SharedPlatform.current
      try await HistoryReadTests.duckDB(
        """
        COPY (SELECT 'tp' || i AS event_id, i AS customer_id, 'buy' AS kind, 1.0 AS amount,
          TIMESTAMPTZ '2026-02-28 10:00:00+00' AS at FROM range(5000) r(i))
        TO 'whole.parquet' (FORMAT parquet)
        """, platform)
      let whole =
        FileManager.default.contents(atPath: "\(platform.folder.path)/whole.parquet") ?? Data()
      try #require(whole.count > 1_000)
      let path = "/api/v1/sources/events/files?name=cut.parquet"
      let answer = try await platform.rest.post(path, bytes: [UInt8](whole.prefix(whole.count / 2)))
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.code == "invalid_record")
      #expect(answer.error.contains("cut.parquet"), "\(answer.error)")
      #expect(try await Self.stored("tp") == 0)
      let good = try await platform.rest.post(path, bytes: [UInt8](whole))
      #expect(good["accepted"]?.int == 5_000, "\(good)")
    }

    @Test("ragged lines of a CSV file are quarantined, the others are stored")
    func raggedLines() async throws {
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.upload(
        "events", "ragged.csv",
        Self.header + """
          ra,1,buy,10,2026-02-28T10:00:00Z
          rb,1,buy
          rc,1,buy,10,2026-02-28T10:00:00Z,more,and,more
          rd,1,buy,10,2026-02-28T10:00:00Z

          """)
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["accepted"]?.int == 2, "\(answer)")
      #expect(answer["quarantined"]?.int == 2, "\(answer)")
      let records = try await rest.okGet("/api/v1/quarantine?limit=2")["records"]?.array ?? []
      #expect(records.contains { $0["record"]?.string == "rb,1,buy" }, "\(records)")
      #expect(
        records.allSatisfy { $0["position"]?.string?.contains("ragged.csv") == true }, "\(records)")
    }

    @Test("a strict file with one bad row is refused wholly, with the row and the reason")
    func strict() async throws {
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.post(
        "/api/v1/sources/events/files?name=strict.csv&strict=true",
        Self.header + "sa,1,buy,10,2026-02-28T10:00:00Z\nsb,1,buy,ten,2026-02-28T10:00:00Z\n")
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("strict.csv") && answer.error.contains("2"), "\(answer.error)")
      #expect(answer.error.contains("ten"), "\(answer.error)")
      #expect(try await Self.stored("sa") == 0)
    }

    @Test("an empty file is refused", arguments: ["empty.csv", "empty.parquet", "empty.jsonl"])
    func empty(name: String) async throws {
      let answer = try await SharedPlatform.current.rest.upload("events", name, "")
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains(name) && answer.error.contains("empty"), "\(answer.error)")
    }

    @Test("a file without the event time's column is refused with the columns it has")
    func noEventTime() async throws {
      let answer = try await SharedPlatform.current.rest.upload(
        "events", "timeless.csv", "event_id,customer_id,att\nx,1,2026-02-28T10:00:00Z\n")
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("'at'"), "\(answer.error)")
    }

    @Test("times without a zone in a file are quarantined")
    func localTimes() async throws {
      let answer = try await SharedPlatform.current.rest.upload(
        "events", "local.csv", Self.header + "la,1,buy,10,2026-02-28 10:00:00\n")
      #expect(answer.status == 200 || answer.status == 422, "\(answer)")
      #expect(answer.text.contains("zone"), "\(answer)")
      #expect(try await Self.stored("la") == 0)
    }

    @Test("a file of an unknown format is refused before its bytes are taken")
    func unknownFormat() async throws {
      let answer = try await SharedPlatform.current.rest.upload("events", "events.xlsx", "PK")
      #expect(answer.status == 400, "\(answer)")
      #expect(answer.error.contains(".parquet"), "\(answer.error)")
    }

    /// A file whose second line never ends, made as it is sent.
    private struct EndlessLine: AsyncSequence, Sendable {
      let beginning: String
      let mebibytes: Int

      struct Iterator: AsyncIteratorProtocol {
        var beginning: String?
        var left: Int
        let piece = ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 20)

        mutating func next() async throws -> ByteBuffer? {
          if let first = beginning {
            beginning = nil
            return ByteBuffer(string: first)
          }
          guard left > 0 else { return nil }
          left -= 1
          return piece
        }
      }

      func makeAsyncIterator() -> Iterator { Iterator(beginning: beginning, left: mebibytes) }
    }

    static let endless = [
      ("line.csv", header + "ok,1,buy,1,2026-02-28T10:00:00Z\n"),
      ("line.jsonl", ShopProject.event("ok", customer: 1, at: "2026-02-28T10:00:00Z") + "\n"),
    ]

    @Test("a line of a gigabyte costs no gigabyte of memory and is not stored", arguments: endless)
    func endlessLine(name: String, beginning: String) async throws {
      try await ShopProject.with { platform in
        let answer = try await platform.rest.send(
          .POST, "/api/v1/sources/events/files?name=\(name)",
          .stream(EndlessLine(beginning: beginning, mebibytes: 1_024), length: .unknown))
        #expect(answer.status == 422 || answer["quarantined"]?.int == 1, "\(answer)")
        #expect(platform.peakMemory > 0)
        #expect(platform.peakMemory < 1_500_000_000)
        let rows = try await platform.rest.count("SELECT count(*) FROM events_events")
        #expect(rows == (answer.status == 200 ? 1 : 0))
        let kept = try await platform.rest.count(
          "SELECT coalesce(max(length(record)), 0) FROM quarantine")
        #expect(kept <= Int64(Limits.lineBytes))
      }
    }

    /// Sends a header and then breaks off.
    private struct BrokenOff: AsyncSequence, Sendable {
      struct Gone: Error {}

      struct Iterator: AsyncIteratorProtocol {
        var sent = 0

        mutating func next() async throws -> ByteBuffer? {
          sent += 1
          guard sent < 20 else { throw Gone() }
          return ByteBuffer(
            string: sent == 1 ? header : "cut\(sent),1,buy,1,2026-02-28T10:00:00Z\n")
        }
      }

      func makeAsyncIterator() -> Iterator { Iterator() }
    }

    @Test("an upload that breaks off leaves nothing behind")
    func brokenOff() async throws {
      let platform = try SharedPlatform.current
      await #expect(throws: (any Error).self) {
        _ = try await platform.rest.send(
          .POST, "/api/v1/sources/events/files?name=broken.csv",
          .stream(BrokenOff(), length: .unknown))
      }
      try await waitUntil("the spool was empty") {
        try FileManager.default.contentsOfDirectory(atPath: "\(platform.data)/spool").isEmpty
      }
      #expect(try await Self.stored("cut") == 0)
    }

    @Test("an upload over gRPC that names no file first is refused")
    func uploadWithoutHeader() async throws {
      let platform = try SharedPlatform.current
      let error = try await platform.withGRPC { client in
        try await grpcError {
          _ = try await client.features.uploadFile { writer in
            try await writer.write(.with { $0.chunk = .init([1, 2, 3]) })
          }
        }
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.message.contains("first message") == true, "\(String(describing: error))")
    }
  }
}
