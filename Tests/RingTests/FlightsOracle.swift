import Core
import Testing

/// What the features of examples/flights mean, and those of a view that has every aggregate, written down a second time: in SQL,
/// without any code of the join.
///
/// For every spine row, all events of its key are looked at. Nothing is taken from the definitions.
struct FlightsOracle {
  /// Every aggregate that there is, with and without a filter, in tiles and exact.
  static let everyAggregate = """
      every_aggregate:
        entity: carrier
        source: arrivals
        features:
          count_24h: {count: tailnum, window: 24h}
          distinct_24h: {count_distinct: tailnum, window: 24h}
          distinct_late_3h: {count_distinct: dest, where: late_arrival, window: 3h, resolution: exact}
          sum_24h: {sum: arr_delay_min, window: 24h, resolution: exact}
          mean_late_24h: {mean: arr_delay_min, where: "late_arrival and origin != 'JFK'", window: 24h}
          min_6h: {min: arr_delay_min, window: 6h, resolution: exact}
          max_6h: {max: arr_delay_min, window: 6h}
          stddev_24h: {stddev: arr_delay_min, window: 24h}
          variance_3h: {variance: arr_delay_min, window: 3h, resolution: exact}
          first_24h: {first: arr_delay_min, window: 24h}
          first_late_6h: {first: tailnum, where: late_arrival, window: 6h, resolution: exact}
          last_24h: {last: arr_delay_min, window: 24h, resolution: exact}
          last_dest_6h: {last: dest, window: 6h}
          last_five_24h: {last_k: arr_delay_min, k: 5, window: 24h}
          last_three_late_6h: {last_k: tailnum, k: 3, where: late_arrival, window: 6h, resolution: exact}
          median_24h: {quantile: arr_delay_min, q: 0.5, window: 24h}
          most_6h: {quantile: arr_delay_min, q: 0.95, where: arr_delay_min > 0, window: 6h, resolution: exact}

    """

  private struct Rule {
    var table: String
    var keys: [String]
    /// An aggregate over `e`; for a latest value the column.
    var value: String
    var filter = "true"
    /// Hours; a ttl for a latest value.
    var hours: Int
    /// Minutes by which the tail moves; nil for a latest value, 0 for an exact window.
    var step: Int?
  }

  private static let aggregateRules: [String: Rule] = {
    let order = "ORDER BY e.event_timestamp, e.created_at, e.sequence"
    let newest = "ORDER BY e.event_timestamp DESC, e.created_at DESC, e.sequence DESC"
    func first(_ column: String, _ order: String) -> String {
      "first(e.\(column) \(order)) FILTER (WHERE e.\(column) IS NOT NULL)"
    }
    func list(_ column: String, _ count: Int) -> String {
      let all = "list(e.\(column) \(newest)) FILTER (WHERE e.\(column) IS NOT NULL)"
      return "(\(all))[1:\(count)]"
    }
    func quantile(_ share: Double) -> String {
      let sorted = "list_sort(list(e.arr_delay_min) FILTER (WHERE e.arr_delay_min IS NOT NULL))"
      return "(\(sorted))[1 + floor(\(share) * (count(e.arr_delay_min) - 1))::BIGINT]"
    }
    let late = "e.late_arrival"
    let rules: [(String, String, String, Int, Int)] = [
      ("count_24h", "count(e.tailnum)", "true", 24, 60),
      ("distinct_24h", "count(DISTINCT e.tailnum)", "true", 24, 60),
      ("distinct_late_3h", "count(DISTINCT e.dest)", late, 3, 0),
      ("sum_24h", "coalesce(sum(e.arr_delay_min), 0)", "true", 24, 0),
      ("mean_late_24h", "avg(e.arr_delay_min)", "\(late) AND e.origin <> 'JFK'", 24, 60),
      ("min_6h", "min(e.arr_delay_min)", "true", 6, 0),
      ("max_6h", "max(e.arr_delay_min)", "true", 6, 5),
      ("stddev_24h", "stddev_samp(e.arr_delay_min)", "true", 24, 60),
      ("variance_3h", "var_samp(e.arr_delay_min)", "true", 3, 0),
      ("first_24h", first("arr_delay_min", order), "true", 24, 60),
      ("first_late_6h", first("tailnum", order), late, 6, 0),
      ("last_24h", first("arr_delay_min", newest), "true", 24, 0),
      ("last_dest_6h", first("dest", newest), "true", 6, 5),
      ("last_five_24h", list("arr_delay_min", 5), "true", 24, 60),
      ("last_three_late_6h", list("tailnum", 3), late, 6, 0),
      ("median_24h", quantile(0.5), "true", 24, 60),
      ("most_6h", quantile(0.95), "e.arr_delay_min > 0", 6, 0),
    ]
    return Dictionary(
      uniqueKeysWithValues: rules.map { name, value, filter, hours, step in
        (
          "every_aggregate.\(name)",
          Rule(
            table: "arrivals", keys: ["carrier"], value: value, filter: filter, hours: hours,
            step: step)
        )
      })
  }()

  private static let rules: [String: Rule] = {
    var rules: [String: Rule] = [:]
    let places: [(view: String, keys: [String])] = [
      ("carrier_delays", ["carrier"]), ("airport_delays", ["origin"]),
      ("destination_delays", ["dest"]), ("route_delays", ["origin", "dest"]),
      ("aircraft_delays", ["tailnum"]),
    ]
    func arrivals(
      _ name: String, _ value: String, where filter: String = "true", _ hours: Int, _ step: Int
    ) {
      let keys = places.first { name.hasPrefix($0.view) }?.keys ?? []
      rules[name] = Rule(
        table: "arrivals", keys: keys, value: value, filter: filter, hours: hours, step: step)
    }
    for view in ["carrier_delays", "airport_delays"] {
      arrivals("\(view).arrivals_24h", "count(e.sequence)", 24, 60)
      arrivals("\(view).late_24h", "count(e.sequence)", where: "e.late_arrival", 24, 60)
      arrivals("\(view).mean_delay_24h", "avg(e.arr_delay_min)", 24, 60)
    }
    arrivals("carrier_delays.mean_delay_7d", "avg(e.arr_delay_min)", 168, 60)
    arrivals("airport_delays.mean_delay_3h", "avg(e.arr_delay_min)", 3, 5)
    arrivals("airport_delays.worst_3h", "max(e.arr_delay_min)", 3, 5)
    arrivals("destination_delays.mean_delay_6h", "avg(e.arr_delay_min)", 6, 5)
    arrivals("destination_delays.mean_delay_24h", "avg(e.arr_delay_min)", 24, 60)
    arrivals("destination_delays.best_24h", "min(e.arr_delay_min)", 24, 60)
    arrivals("route_delays.arrivals_28d", "count(e.arr_delay_min)", 672, 1_440)
    arrivals("route_delays.late_28d", "count(e.sequence)", where: "e.late_arrival", 672, 1_440)
    arrivals("route_delays.mean_delay_7d", "avg(e.arr_delay_min)", 168, 60)
    arrivals("aircraft_delays.mean_delay_24h", "avg(e.arr_delay_min)", 24, 60)
    arrivals("aircraft_delays.mean_delay_7d", "avg(e.arr_delay_min)", 168, 60)
    rules["aircraft_delays.last_delay"] = Rule(
      table: "arrivals", keys: ["tailnum"], value: "arr_delay_min", hours: 48)
    func departures(
      _ name: String, _ value: String, where filter: String = "true", _ hours: Int, _ step: Int
    ) {
      rules["airport_departures.\(name)"] = Rule(
        table: "departures", keys: ["origin"], value: value, filter: filter, hours: hours,
        step: step)
    }
    departures("departures_1h", "count(e.sequence)", 1, 1)
    departures("mean_delay_1h", "avg(e.dep_delay_min)", 1, 1)
    departures("mean_delay_3h", "avg(e.dep_delay_min)", 3, 5)
    departures(
      "lost_minutes_3h", "coalesce(sum(e.dep_delay_min), 0)", where: "e.dep_delay_min > 0", 3, 5)
    for column in [
      "temp_f", "humid_pct", "wind_speed_mph", "wind_gust_mph", "precip_in", "pressure_mb",
      "visib_mi",
    ] {
      rules["airport_weather.\(column)"] = Rule(
        table: "weather", keys: ["origin"], value: column, hours: 6)
    }
    rules["airport_weather.rain_6h"] = Rule(
      table: "weather", keys: ["origin"], value: "coalesce(sum(e.precip_in), 0)", hours: 6, step: 5)
    return rules
  }()

  let store: FlightsStore
  let mode: HistoryMode

  /// By feature of the view that has every aggregate, the value of every row of the table `spine`.
  func aggregates() async throws -> [String: [Value]] {
    var values: [String: [Value]] = [:]
    for (name, rule) in Self.aggregateRules {
      let rows = try await store.query(window(rule))
      values[name] = (0..<rows.count).map { rows.columns[1][$0] }
    }
    return values
  }

  /// By feature of the example, the value of every row of the table `spine`; nil is null.
  func values() async throws -> [String: [Double?]] {
    var values: [String: [Double?]] = [:]
    for (name, rule) in Self.rules {
      let rows = try await store.query(rule.step == nil ? latest(rule) : window(rule))
      values[name] = (0..<rows.count).map { rows.columns[1][$0].number }
    }
    for view in ["carrier_delays", "airport_delays"] {
      values["\(view).late_share_24h"] = try share(
        #require(values["\(view).late_24h"]), #require(values["\(view).arrivals_24h"]))
    }
    values["route_delays.late_share_28d"] = try share(
      #require(values["route_delays.late_28d"]), #require(values["route_delays.arrivals_28d"]))
    let here = try #require(values["airport_delays.mean_delay_3h"])
    let carrier = try #require(values["carrier_delays.mean_delay_24h"])
    values["airport_delays.against_carriers"] = zip(here, carrier).map { ($0 ?? 0) - ($1 ?? 0) }
    return values
  }

  private func share(_ a: [Double?], _ b: [Double?]) -> [Double?] {
    zip(a, b).map { a, b in
      guard let a, let b, b != 0 else { return nil }
      return a / b
    }
  }

  private func match(_ rule: Rule) -> String {
    rule.keys.map { "e.\($0) = s.\($0)" }.joined(separator: " AND ")
      + " AND e.event_timestamp <= s.t" + (mode == .asKnown ? " AND e.created_at <= s.t" : "")
  }

  private func window(_ rule: Rule) -> String {
    let step = Int64(rule.step ?? 1) * 60_000_000
    let tail = "epoch_us(s.t) - \(Int64(rule.hours) * 3_600_000_000)"
    let start = step == 0 ? "\(tail) + 1" : "((\(tail)) // \(step)) * \(step)"
    return """
      SELECT s.i, \(rule.value) AS value FROM spine s LEFT JOIN events_\(rule.table) e \
      ON \(match(rule)) AND epoch_us(e.event_timestamp) >= \(start) AND \(rule.filter) \
      GROUP BY s.i ORDER BY s.i
      """
  }

  private func latest(_ rule: Rule) -> String {
    """
    SELECT i, CASE WHEN epoch_us(happened) >= epoch_us(t) - \(Int64(rule.hours) * 3_600_000_000) THEN value END AS value \
    FROM (SELECT s.i, s.t, e.event_timestamp AS happened, e.\(rule.value) AS value, row_number() OVER \
    (PARTITION BY s.i ORDER BY e.event_timestamp DESC NULLS LAST, e.created_at DESC, e.sequence DESC) AS n \
    FROM spine s LEFT JOIN events_\(rule.table) e ON \(match(rule))) WHERE n = 1 ORDER BY i
    """
  }
}
