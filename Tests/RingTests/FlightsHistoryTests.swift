import Core
import DuckDBBackend
import Features
import Foundation
import Synchronization
import Testing

/// January's flights, arriving at the platform half a day at a time, some of them late and some
/// corrected later.
@Suite(.enabled(if: Flights.data != nil, Flights.absent)) struct FlightsHistoryTests {
  private static let start = Timestamp(microseconds: 1_357_041_600_000_000)  // 2013-01-01T12:00:00Z
  private static let slices = 60
  private static let slice = Span.hours(12)

  @Test func `history equals brute-force SQL by both clocks, and as known equals online reads`()
    async throws
  {
    let snapshot = try Flights.snapshot(adding: FlightsOracle.everyAggregate)
    try await FlightsStore.with(at: Self.start, snapshot) { store, folder in
      for statement in Self.january + [Self.spine] {
        try await store.warehouse.execute(statement, [])
      }
      let spine = try await store.query(
        "SELECT carrier, origin, dest, tailnum, t FROM spine ORDER BY i")
      #expect(spine.count >= 1_000)
      let features = Flights.features(of: store.snapshot)
      let online = try await Self.replay(into: store, folder: folder, spine: spine, features)
      #expect(online.count >= 500)
      var seen: [HistoryMode: TrainingSet] = [:]
      for mode in HistoryMode.allCases {
        let set = try await PointInTimeJoin.run(
          spine: spine, time: "t", features: features, mode: mode, snapshot: store.snapshot,
          warehouse: store.warehouse, withStatuses: true)
        seen[mode] = set
        let oracle = try await FlightsOracle(store: store, mode: mode).values()
        let aggregates = try await FlightsOracle(store: store, mode: mode).aggregates()
        for feature in features where feature.view == "every_aggregate" {
          let column = try #require(set.columns[feature.description])
          let expected = try #require(aggregates[feature.description], "\(feature) has no rule")
          #expect(expected.count == spine.count)
          let wrong = (0..<spine.count).filter {
            !Self.isSame(column[$0], expected[$0], isEstimate: Self.estimates.contains(feature))
          }
          let first = wrong.first.map { "\(column[$0]), not \(expected[$0])" } ?? ""
          #expect(wrong.isEmpty, "\(mode) \(feature): \(first) in row \(wrong.prefix(1))")
          #expect(Set(expected).count > 10, "\(feature) is hardly ever anything")
        }
        for feature in features where feature.view != "every_aggregate" {
          let column = try #require(set.columns[feature.description])
          let expected = try #require(oracle[feature.description], "\(feature) has no rule")
          #expect(expected.count == spine.count)
          let wrong = (0..<spine.count).filter { !Self.isSame(column[$0].number, expected[$0]) }
          #expect(wrong.isEmpty, "\(mode) \(feature): rows \(wrong.prefix(5)) of \(wrong.count)")
          #expect(expected.contains { $0 != nil && $0 != 0 }, "\(feature) is never anything")
        }
      }
      let known = try #require(seen[.asKnown])
      #expect(known.columns != seen[.asCorrected]?.columns, "nothing was late")
      let differences = Self.differences(of: known, from: online, features)
      #expect(differences.isEmpty, "\(differences.count), first \(differences.prefix(5))")
    }
  }

  /// Where the online answers are not the historical ones, in value or status.
  private static func differences(
    of known: TrainingSet, from online: [(row: Int, vector: FeatureVector)],
    _ features: [FeatureName]
  ) -> [String] {
    online.flatMap { row, vector in
      zip(features, vector.values).compactMap { feature, value in
        let offline = known.columns[feature.description]?[row] ?? .null
        let status = known.statuses?[feature]?[row] ?? value.status
        let isEqual = offline == value.value || isSame(offline.number, value.value.number)
        return isEqual && status == value.status
          ? nil : "\(feature) in row \(row): \(offline) (\(status)), online \(value)"
      }
    }
  }

  /// The files' rows that the test is about, as they are.
  private static let january = [
    "CREATE TABLE flights AS SELECT * FROM read_parquet('\(Flights.flightsFile)') WHERE flight_date < '2013-02-01'",
    "CREATE TABLE hours AS SELECT * FROM read_parquet('\(Flights.weatherFile)') WHERE available_ts < '2013-02-01T00:00:00Z'",
  ]

  /// Ten flights at the end of each slice, where the online store is asked too, and others at their
  /// scheduled departure.
  private static var spine: String {
    let flights = """
      SELECT flight_id, carrier, origin, dest, tailnum, make_timestamp(epoch_us(sched_dep_ts)) AS due \
      FROM flights WHERE sched_dep_ts < '2013-01-31T00:00:00Z'
      """
    let slot =
      "make_timestamp((epoch_us(due) // \(slice.microseconds) + 1) * \(slice.microseconds))"
    return """
      CREATE TABLE spine AS SELECT row_number() OVER (ORDER BY hash(flight_id), t) - 1 AS i, * FROM ( \
      SELECT *, \(slot) AS t FROM (\(flights)) \
      QUALIFY row_number() OVER (PARTITION BY \(slot) ORDER BY hash(flight_id)) <= 10 UNION ALL \
      (SELECT *, due AS t FROM (\(flights)) ORDER BY hash(flight_id + 1) LIMIT 600))
      """
  }

  /// The events of one slice: those that the platform hears of in it, and corrections of earlier
  /// ones.
  private static func events(_ source: String, until end: Timestamp) -> String {
    let time =
      ["arrivals": "arr_ts", "departures": "dep_ts", "weather": "available_ts"][source] ?? ""
    let last = "make_timestamptz(\(end.microseconds))"
    let first = "make_timestamptz(\((end - slice).microseconds))"
    let from = "FROM \(source == "weather" ? "hours" : "flights") WHERE \(time) IS NOT NULL"
    if source == "weather" {
      return "SELECT * \(from) AND \(time) > \(first) AND \(time) <= \(last)"
    }
    let late =
      "to_minutes(CASE WHEN hash(flight_id) % 8 = 0 THEN (hash(flight_id + 2) % 1800)::BIGINT ELSE 0 END)"
    let heard = "\(time) + \(late)"
    let again = "\(time) + to_minutes(1500)"
    return """
      SELECT * \(from) AND \(heard) > \(first) AND \(heard) <= \(last) UNION ALL BY NAME \
      SELECT * REPLACE (flight_id + 1000000 AS flight_id, arr_delay_min + 25 AS arr_delay_min, \
      dep_delay_min + 25 AS dep_delay_min, true AS late_arrival) \(from) \
      AND hash(flight_id + 3) % 20 = 0 AND \(again) > \(first) AND \(again) <= \(last)
      """
  }

  /// Feeds January to the store and asks it for the spine's rows whose time has just come.
  private static func replay(
    into store: FlightsStore, folder: String, spine: ColumnBatch, _ features: [FeatureName]
  ) async throws -> [(row: Int, vector: FeatureVector)] {
    let tables = DuckDBTableFiles()
    let keys = ["carrier", "origin", "dest", "tailnum"]
    var answers: [(row: Int, vector: FeatureVector)] = []
    for number in 0..<slices {
      let end = start + Span(microseconds: slice.microseconds * Int64(number))
      // Every commit has a moment of its own, and all of them come before the question.
      store.clock.set(end - .seconds(10))
      for source in ["arrivals", "departures", "weather"] {
        let events = try await store.query(events(source, until: end))
        guard events.count > 0 else { continue }
        let path = "\(folder)/\(source)-\(number).parquet"
        try await tables.write(events, to: path, format: .parquet)
        store.clock.advance(by: .seconds(1))
        _ = try await store.ingest(source, path)
      }
      store.clock.set(end)
      let rows = (0..<spine.count).filter { row in
        spine["t"]?[row] == .timestamp(end) && spine["tailnum"]?.isPresent(row) == true
      }
      let requests = rows.map { row in
        RequestRow(uniqueKeysWithValues: keys.map { ($0, spine[$0]?[row] ?? .null) })
      }
      let answer = try await store.hydrator.hydrate(
        HydrateRequest(features: features, rows: requests))
      answers += zip(rows, answer.vectors).map { ($0, $1) }
    }
    return answers
  }

  /// What a sketch answers to within one per cent.
  private static let estimates: Set = [
    FeatureName(view: "every_aggregate", feature: "median_24h"),
    FeatureName(view: "every_aggregate", feature: "most_6h"),
  ]

  private static func isSame(_ a: Value, _ b: Value, isEstimate: Bool) -> Bool {
    guard let x = a.number, let y = b.number else { return a == b }
    return isEstimate ? abs(x - y) <= 0.010_001 * abs(y) : isSame(x, y)
  }

  private static func isSame(_ a: Double?, _ b: Double?) -> Bool {
    guard let a, let b else { return a == nil && b == nil }
    return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))
  }
}
