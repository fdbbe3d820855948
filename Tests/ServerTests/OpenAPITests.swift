import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// The served description of the REST API, held against the platform that serves it.
  @Suite(.sharedPlatform) struct OpenAPITests {
    private static func members(_ json: JSON?) -> [JSON.Member] {
      if case .object(let members)? = json { members } else { [] }
    }

    @Test("every route is described, and everything described is a route")
    func complete() async throws {
      let document = try await SharedPlatform.current.rest.okGet("/openapi.json")
      #expect(document["openapi"]?.string == "3.1.0")
      #expect(
        document["x-not-served"]?.array?.isEmpty == true, "\(document["x-not-served"]?.text ?? "")")
      var calls = 0
      for path in Self.members(document["paths"]) {
        for operation in Self.members(path.value) {
          calls += 1
          #expect(
            operation.value["summary"] != nil, "\(operation.key) \(path.key) is not described")
        }
      }
      #expect(calls > 45)
      #expect(try await SharedPlatform.current.rest.okGet("/api/openapi.json") == document)
    }

    @Test("answers are as their schemas say, with no field that is not described")
    func answers() async throws {
      let rest = try SharedPlatform.current.rest
      let document = try await rest.okGet("/openapi.json")
      func hold(_ method: String, _ path: String, _ answer: JSON) throws {
        let content = document["paths"]?[path]?[method]?["responses"]?["200"]?["content"]
        let schema = try #require(content?["application/json"]?["schema"], "\(method) \(path)")
        let faults = Schema(document).faults(of: answer, against: schema, at: "\(method) \(path)")
        #expect(faults.isEmpty, "\(faults.prefix(5))")
      }
      _ = try await rest.push(
        "events", ShopProject.event("api", customer: 3, at: "2026-02-28T10:00:00Z"))
      _ = try await rest.push(
        "events", #"{"event_id": "bad", "customer_id": null, "at": "2026-02-28T10:00:00Z"}"#)
      for path in [
        "/health/live", "/api/v1/status", "/api/v1/definitions", "/api/v1/features",
        "/api/v1/features/sets", "/api/v1/features/freshness", "/api/v1/datasets", "/api/v1/models",
        "/api/v1/jobs", "/api/v1/quarantine", "/api/v1/erasures",
      ] {
        try hold("get", path, try await rest.okGet(path))
      }
      let spine = "?name=api&features=activity.events_7d&time=at&spine_format=sql"
      let query = "SELECT 3 AS customer_id, TIMESTAMPTZ '2026-02-28 12:00:00Z' AS at"
      try hold("post", "/api/v1/datasets", try await rest.ok("/api/v1/datasets" + spine, query))
      try hold("get", "/api/v1/datasets/{name}", try await rest.okGet("/api/v1/datasets/api"))
      try hold(
        "post", "/api/v1/datasets/{name}/verify", try await rest.ok("/api/v1/datasets/api/verify"))
      try hold(
        "post", "/api/v1/features/online",
        try await rest.ok(
          "/api/v1/features/online",
          #"{"features": ["activity.events_7d"], "entities": [{"customer_id": 3}]}"#))
      try hold(
        "post", "/api/v1/features/verify",
        try await rest.ok("/api/v1/features/verify", #"{"live": true}"#))
      try hold("post", "/api/v1/sql", try await rest.ok("/api/v1/sql", #"{"sql": "SELECT 1"}"#))
      try hold(
        "post", "/api/v1/definitions/plan",
        try await rest.ok(
          "/api/v1/definitions/plan",
          JSON.object([
            "yaml": .string(ShopProject.definitions + "      more: {count: \"*\", window: 1d}\n")
          ]).text))
      try hold(
        "get", "/api/v1/lineage/{name}", try await rest.okGet("/api/v1/lineage/activity.events_7d"))
      let pushed = try await rest.push("events", "[]")
      try hold("post", "/api/v1/sources/{source}/events", pushed.json)
      let backfill = try await rest.ok("/api/v1/views/activity/backfill")
      try hold("post", "/api/v1/views/{view}/backfill", backfill)
      let error = try await rest.get("/api/v1/models/none")
      let schema = try #require(document["components"]?["schemas"]?["Error"])
      #expect(Schema(document).faults(of: error.json, against: schema, at: "an error").isEmpty)
    }
  }
}

/// As much of JSON Schema as the description uses, and nothing allowed that is not described.
private struct Schema {
  let document: JSON

  init(_ document: JSON) { self.document = document }

  func faults(of value: JSON, against schema: JSON, at place: String) -> [String] {
    if let reference = schema["$ref"]?.string {
      let name = String(reference.split(separator: "/").last ?? "")
      guard let target = document["components"]?["schemas"]?[name] else {
        return ["\(place): there is no schema \(name)"]
      }
      return faults(of: value, against: target, at: place)
    }
    if let choices = schema["anyOf"]?.array {
      let all = choices.map { faults(of: value, against: $0, at: place) }
      return all.contains(where: \.isEmpty) ? [] : all.min { $0.count < $1.count } ?? []
    }
    let types = schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string)
    guard let types else { return [] }
    guard let type = types.first(where: { Self.isOf($0, value) }) else {
      return ["\(place): \(value.text.prefix(80)) is not \(types.joined(separator: " or "))"]
    }
    switch (type, value) {
    case ("array", .array(let items)):
      guard let element = schema["items"] else { return [] }
      return items.enumerated().flatMap {
        faults(of: $1, against: element, at: "\(place)[\($0)]")
      }
    case ("object", .object(let members)): return faults(of: members, against: schema, at: place)
    case ("string", .string(let text)) where schema["format"]?.string == "date-time":
      return (try? Timestamp(iso8601: text)) == nil ? ["\(place): '\(text)' is no time"] : []
    default: return []
    }
  }

  private func faults(of members: [JSON.Member], against schema: JSON, at place: String) -> [String]
  {
    let required = (schema["required"]?.array ?? []).compactMap(\.string)
    let missing = required.filter { name in !members.contains { $0.key == name } }
    return missing.map { "\(place): '\($0)' is missing" }
      + members.flatMap { member -> [String] in
        let inside = "\(place).\(member.key)"
        if let known = schema["properties"]?[member.key] {
          return faults(of: member.value, against: known, at: inside)
        }
        if let others = schema["additionalProperties"] {
          return faults(of: member.value, against: others, at: inside)
        }
        return ["\(inside) is not described"]
      }
  }

  private static func isOf(_ type: String, _ value: JSON) -> Bool {
    switch (type, value) {
    case ("null", .null), ("boolean", .bool), ("integer", .int), ("string", .string),
      ("array", .array), ("object", .object):
      true
    case ("number", _): value.number != nil
    default: false
    }
  }
}
