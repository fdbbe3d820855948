import Catalog
import Core
import Foundation
import Testing

/// The quickstart of Chronon, and the one row of its answer that its authors published (`docs/source/authoring_features/Join.md`).
///
/// **Boundaries.** Chronon's windows here are `ts − w <= t < ts`: an event of the very instant of the question does not count,
/// one that is exactly w old does. Ours are `T − w < t <= T` where they are exact, and `floor(T − w, r) <= t <= T` in
/// tiles: the newest event counts, since an online read that follows it must see it. No event of the row lies on a bound or
/// in the first tile before one, so all three rules give the published numbers. Two things differ by rule and not by bound: over no events
/// Chronon's `sum` and `count` are null, ours are 0 (semantics §4); and its batch table `users` of a day is known when the day is over.
@Suite(.enabled(if: ChrononQuickstart.folder != nil, ChrononQuickstart.absent))
struct ChrononQuickstartTests {
  @Test(
    "the published row comes out online and in history, with tiles and exact windows",
    arguments: ["", ", resolution: exact"])
  func published(resolution: String) async throws {
    try await FlightsStore.with(
      at: ChrononQuickstart.asked - .seconds(1), ChrononQuickstart.snapshot(resolution)
    ) { store, folder in
      try await ChrononQuickstart.fill(store, folder)
      store.clock.set(ChrononQuickstart.asked)
      let features = Flights.features(of: store.snapshot)
      let key = Value.int64(ChrononQuickstart.user)
      let online = try await store.online(features, ["user_id": key])
      let history = try await store.history(features, ["user_id": key], at: ChrononQuickstart.asked)
      let expected = try ChrononQuickstart.expected()
      var compared = 0
      for (feature, found) in zip(features, zip(online, history)) {
        let published = try #require(expected[feature.feature], "\(feature) is not published")
        #expect(found.0 == published, "\(feature) online")
        #expect(found.1 == published, "\(feature) in history")
        compared += 1
      }
      #expect(compared == expected.count)
    }
  }

  @Test
  func
    `an event of the very instant counts here and not in Chronon, one that is w old the other way round`()
    async throws
  {
    // The purchase of 331 by the user of the row, and the day after which it is exactly as old as the window.
    let purchase = Timestamp(microseconds: 1_701_251_152_000_000)
    let snapshot = try ChrononQuickstart.snapshot(", resolution: exact")
    try await FlightsStore.with(at: purchase + .days(4), snapshot) { store, folder in
      try await ChrononQuickstart.fill(store, folder)
      for (time, ours, chronons) in [
        (purchase, 1, 0), (purchase + .days(3) - Span(microseconds: 1), 1, 1),
        (purchase + .days(3), 0, 1),
      ] as [(Timestamp, Int64, Int64)] {
        let found = try await store.history(
          [FeatureName(view: "purchases_by_user", feature: "purchase_price_count_3d")],
          ["user_id": .int64(ChrononQuickstart.user)], at: time)
        #expect(found == [.int64(ours)], "\(time)")
        let rows = try await store.query(
          """
          SELECT count(*) FROM events_purchases WHERE user_id = \(ChrononQuickstart.user) \
          AND epoch_us(event_timestamp) >= \(time.microseconds) - 3 * 86400000000 \
          AND epoch_us(event_timestamp) < \(time.microseconds)
          """)
        #expect(rows.columns[0][0] == .int64(chronons), "\(time)")
      }
    }
  }
}

private enum ChrononQuickstart {
  static let user: Int64 = 24
  static let asked = Timestamp(microseconds: 1_701_320_475_364_000)

  static let folder: String? = {
    let given = ProcessInfo.processInfo.environment["MARTLET_TEST_DATA"]
    let root =
      given ?? URL(fileURLWithPath: Flights.repository + "/../shared/data").standardized.path
    let path = root + "/fixtures/chronon_quickstart"
    return FileManager.default.isReadableFile(atPath: path + "/expected_row.json") ? path : nil
  }()

  static let absent: Comment =
    "Chronon's quickstart is not there: set MARTLET_TEST_DATA to the folder that has fixtures/chronon_quickstart"

  static func snapshot(_ resolution: String) throws -> Snapshot {
    func windows(_ column: String) -> String {
      [3, 14, 30].flatMap { days in
        [("sum", "sum"), ("count", "count"), ("average", "mean")].map { name, function in
          "      \(column)_\(name)_\(days)d: {\(function): \(column), window: \(days)d\(resolution)}\n"
        }
      }.joined()
    }
    let text = """
      project: quickstart
      entities:
        user: {key: [user_id]}
      sources:
        purchases:
          event_time: at
          event_id: purchase_id
          columns: {user_id: int64, purchase_price: double}
        returns:
          event_time: at
          event_id: return_id
          columns: {user_id: int64, refund_amt: double}
        users:
          event_time: at
          columns: {user_id: int64, account_created_ds: string, email_verified: int64}
      views:
        purchases_by_user:
          entity: user
          source: purchases
          features:
      \(windows("purchase_price"))
            purchase_price_last10: {last_k: purchase_price, k: 10, window: 365d\(resolution)}
        returns_by_user:
          entity: user
          source: returns
          features:
      \(windows("refund_amt"))
            refund_amt_last2: {last_k: refund_amt, k: 2, window: 365d\(resolution)}
        users_by_user:
          entity: user
          source: users
          features:
            users_account_created_ds: {latest: account_created_ds}
            users_email_verified: {latest: email_verified}
      """
    return Snapshot(
      version: 1, definitionsVersion: 1, definitionsDigest: "quickstart", projectDirectory: ".",
      project: try DefinitionFile.parse(Array(text.utf8), ProjectFiles(exists: { _ in false })),
      models: [:])
  }

  /// The files with their milliseconds as times; a day of `users` is known when it is over.
  static func fill(_ store: FlightsStore, _ folder: String) async throws {
    for (source, columns) in [
      (
        "purchases",
        "make_timestamptz(ts * 1000) AS at, purchase_id, user_id, purchase_price::DOUBLE AS purchase_price"
      ),
      (
        "returns",
        "make_timestamptz(ts * 1000) AS at, return_id, user_id, refund_amt::DOUBLE AS refund_amt"
      ),
      (
        "users",
        "make_timestamptz(epoch_us(CAST(ds AS TIMESTAMP) + INTERVAL 1 DAY)) AS at, user_id, account_created_ds::VARCHAR AS account_created_ds, email_verified"
      ),
    ] {
      let events = try await store.query(
        "SELECT \(columns) FROM read_csv('\(ChrononQuickstart.folder ?? "")/\(source).csv')")
      try await store.ingest(events, into: source, folder)
    }
  }

  /// By name, what was published, as our values.
  static func expected() throws -> [String: Value] {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: (folder ?? "") + "/expected_row.json"))
    let json = try JSON(parsing: Array(bytes))
    var values: [String: Value] = [:]
    guard case .object(let members)? = json["expected"] else { return [:] }
    for member in members {
      let isCount = member.key.contains("_count_")
      switch member.value {
      case .array(let items):
        values[member.key] = .list(.double(items.compactMap(\.number)))
      case .string(let text): values[member.key] = .string(text)
      // Over no events Chronon's count and sum are null.
      case .null where isCount: values[member.key] = .int64(0)
      case .null where member.key.contains("_sum_"): values[member.key] = .double(0)
      case .null: values[member.key] = .null
      case .int(let number):
        let isWhole = isCount || member.key == "users_email_verified"
        values[member.key] = isWhole ? .int64(number) : .double(Double(number))
      default: values[member.key] = member.value.number.map { .double($0) } ?? .null
      }
    }
    return values
  }
}
