import Core
import Testing

/// What the features of examples/flights mean, written down a second time: in SQL, without any code
/// of the join.
///
/// For every spine row, all events of its key are looked at. Nothing is taken from the definitions.
struct FlightsOracle {
  private struct Rule {
    var table: String
    var keys: [String]
    /// An aggregate over `e`; for a latest value the column.
    var value: String
    var filter = "true"
    /// Hours; a ttl for a latest value.
    var hours: Int
    /// Minutes by which the tail moves; nil for a latest value.
    var step: Int?
  }

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

  /// By feature, the value of every row of the table `spine`; nil is null.
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
    let start = "((epoch_us(s.t) - \(Int64(rule.hours) * 3_600_000_000)) // \(step)) * \(step)"
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
