import Core
import DuckDBBackend
import Features
import Foundation
import Testing

/// Spines as files.
@Suite struct FlightsSpineTests {
  private static let features = [FeatureName(view: "carrier_delays", feature: "mean_delay_24h")]

  private func read(
    _ text: String, zone: String? = nil
  ) async throws -> ColumnBatch {
    let path = FileManager.default.temporaryDirectory.path + "/spine-\(UUID().uuidString).csv"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    let warehouse = try await DuckDBWarehouse.open(path: nil)
    return try await SpineReader(warehouse: warehouse, files: DuckDBFileReader()).read(
      path, format: .csv, time: "t", features: Self.features, snapshot: Flights.snapshot(),
      zone: zone)
  }

  @Test func `a CSV spine keeps its other columns as text`() async throws {
    let spine = try await read("carrier,t,note\nUA,2013-01-02T10:00:00-05:00,007\n,,\n")
    #expect(spine["note"]?[0] == .string("007"))
    #expect(spine["t"]?[0] == .timestamp(try Timestamp(iso8601: "2013-01-02T15:00:00Z")))
    #expect(spine["carrier"]?[1] == .null)
    #expect(spine["t"]?[1] == .null)
  }

  @Test func `a time without a zone is refused, unless the zone is given`() async throws {
    let text = "carrier,t\nUA,2013-07-02 10:00:00\n"
    let error = await #expect(throws: PlatformError.self) { _ = try await read(text) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("column 't', row 1, has no zone") == true)
    let spine = try await read(text, zone: "America/New_York")
    #expect(spine["t"]?[0] == .timestamp(try Timestamp(iso8601: "2013-07-02T14:00:00Z")))
  }

  @Test func `a damaged row is refused with its number`() async throws {
    for (text, reason) in [
      ("carrier,t\nUA,2013-01-02T10:00:00Z\n\"AA\",2013-01-02T10:00:00Z\nAA,\"2013\n", "row 3"),
      ("carrier,t\nUA,2013-01-02T10:00:00Z\nAA,2013-01-02T10:00:00Z,x\n", "row 2"),
    ] {
      let error = await #expect(throws: PlatformError.self) { _ = try await read(text) }
      #expect(error?.code == .invalidArgument)
      #expect(error?.message.contains(reason) == true, "\(error as Any)")
    }
  }

  @Test func `what is no time is refused with its row`() async throws {
    let error = await #expect(throws: PlatformError.self) {
      _ = try await read("carrier,t\nUA,2013-01-02T10:00:00Z\nUA,soon\n")
    }
    #expect(error?.message.contains("'soon' in column 't', row 2, is not a time") == true)
  }
}
