import Core

/// The OpenAPI 3.1 document of the REST API: the router's own routes, with what `APIOperations` says of each and the types of `APISchemas`.
///
/// A route that is not described is there all the same; tests hold that each is, that nothing else is described, and that
/// answers of a running platform are as the schemas say.
package enum APIDocument {
  /// Where it is served.
  static let paths = ["/openapi.json", "/api/openapi.json"]

  /// A route as the router has it: `GET`, `/api/v1/models/:model`.
  package typealias Route = (method: String, path: String)

  /// Calls that are described, as `GET /api/v1/models/{model}`.
  package static func described() throws -> [String] {
    try operations().map { "\($0.method.uppercased()) \($0.path)" }
  }

  /// - Parameter routes: those of the router. What is described and not among them is listed as `x-not-served`.
  package static func make(routes: [Route]) throws(Malformed) -> JSON {
    let described = try operations()
    var paths: [(path: String, operations: [JSON.Member])] = []
    for route in routes.sorted(by: { ($0.path, $0.method) < ($1.path, $1.method) }) {
      let path = route.path.split(separator: "/")
        .map { $0.hasPrefix(":") ? "/{\($0.dropFirst())}" : "/\($0)" }.joined()
      let method = route.method.lowercased()
      let operation = described.first { $0.method == method && $0.path == path }
      let member = JSON.Member(method, operation?.json ?? .object([JSON.Member]()))
      if let index = paths.firstIndex(where: { $0.path == path }) {
        paths[index].operations.append(member)
      } else {
        paths.append((path, [member]))
      }
    }
    let served = paths.flatMap { path, operations in operations.map { "\($0.key) \(path)" } }
    let notServed = described.map { "\($0.method) \($0.path)" }.filter { !served.contains($0) }
    var schemas: [JSON.Member] = []
    for line in APISchemas.text.split(separator: "\n") { schemas.append(try schema(line)) }
    return .object([
      "openapi": .string("3.1.0"),
      "info": .object([
        "title": .string("Martlet"), "version": .string("1"),
        "description": .string(
          "Features, predictions, models and jobs of a Martlet platform. Every error has the schema Error."
        ),
      ]),
      "servers": .array([.object(["url": .string("/")])]),
      "security": .array([.object(["token": .array([])]), .object([JSON.Member]())]),
      "paths": .object(paths.map { JSON.Member($0.path, .object($0.operations)) }),
      "x-not-served": .array(notServed.map { .string($0) }),
      "components": .object([
        "securitySchemes": .object([
          "token": .object(["type": .string("http"), "scheme": .string("bearer")])
        ]),
        "schemas": .object(schemas),
      ]),
    ])
  }

  /// A line of the tables that is not written as the tables are.
  package struct Malformed: Error, CustomStringConvertible {
    var line: String
    package var description: String { "the API's description is malformed at: \(line)" }
  }

  static func operations() throws(Malformed) -> [APIOperation] {
    var found: [APIOperation] = []
    for line in APIOperations.text.split(separator: "\n") { found.append(try APIOperation(line)) }
    return found
  }

  /// `Name {field: type, …}`.
  private static func schema(_ line: Substring) throws(Malformed) -> JSON.Member {
    guard let space = line.firstIndex(of: " ") else { throw Malformed(line: String(line)) }
    return JSON.Member(
      String(line[..<space]), try APIType.schema(line[line.index(after: space)...]))
  }
}

/// One line of `APIOperations`: `METHOD /path | what | parameters | body | answer`.
struct APIOperation {
  var method: String
  /// As OpenAPI writes it: `/api/v1/models/{model}`.
  var path: String
  var json: JSON

  init(_ line: Substring) throws(APIDocument.Malformed) {
    let parts = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmed }
    let call = parts[0].split(separator: " ")
    guard parts.count == 5, call.count == 2 else { throw APIDocument.Malformed(line: String(line)) }
    method = call[0].lowercased()
    path = String(call[1])
    var members: [JSON.Member] = [
      .init("operationId", .string(Self.identifier(method, path))),
      .init("summary", .string(String(parts[1]))),
      .init("tags", .array([.string(Self.tag(path))])),
    ]
    let inPath = path.split(separator: "/").filter { $0.hasPrefix("{") }.map { segment in
      Self.parameter(
        String(segment.dropFirst().dropLast()), "path", required: true,
        .object(["type": .string("string")]))
    }
    let given = parts[2].isEmpty ? [] : try APIType.fields(parts[2])
    let inQuery = given.map { Self.parameter($0.name, "query", required: $0.isRequired, $0.schema) }
    if !(inPath + inQuery).isEmpty { members.append(.init("parameters", .array(inPath + inQuery))) }
    if !parts[3].isEmpty { members.append(.init("requestBody", try Self.body(parts[3]))) }
    members.append(
      .init(
        "responses",
        .object([
          "200": .object([
            "description": .string("the answer"), "content": try Self.content(parts[4]),
          ]),
          "default": .object([
            "description": .string("an error"),
            "content": .object([
              "application/json": .object([
                "schema": .object(["$ref": .string("#/components/schemas/Error")])
              ])
            ]),
          ]),
        ])))
    json = .object(members)
  }

  private static func parameter(
    _ name: String, _ place: String, required: Bool, _ schema: JSON
  ) -> JSON {
    .object([
      "name": .string(name), "in": .string(place), "required": .bool(required), "schema": schema,
    ])
  }

  private static func body(_ text: Substring) throws(APIDocument.Malformed) -> JSON {
    .object(["required": .bool(!text.hasSuffix("?")), "content": try content(text)])
  }

  /// A type is JSON; a media type in quotes is bytes of it. Several are separated by `or`.
  private static func content(_ text: Substring) throws(APIDocument.Malformed) -> JSON {
    let text = text.hasSuffix("?") ? text.dropLast() : text
    var members: [JSON.Member] = []
    for one in String(text).split(separator: " or ") {
      let choice = one.trimmed
      if choice.hasPrefix("'") {
        members.append(
          .init(
            String(choice.dropFirst().dropLast()),
            .object(["schema": .object(["type": .string("string")])])
          ))
      } else {
        members.append(
          .init("application/json", .object(["schema": try APIType.schema(choice)])))
      }
    }
    return .object(members)
  }

  /// `post /api/v1/models/{model}/train` is `postModelsModelTrain`.
  private static func identifier(_ method: String, _ path: String) -> String {
    path.replacing("/api/v1/", with: "/").split { !$0.isLetter && $0 != "_" }
      .flatMap { $0.split(separator: "_") }
      .reduce(method) { $0 + $1.prefix(1).uppercased() + $1.dropFirst() }
  }

  private static func tag(_ path: String) -> String {
    let parts = path.split(separator: "/")
    return String(parts.count > 2 && parts[0] == "api" ? parts[2] : parts[0])
  }
}

/// Types as the tables write them: `string`, `int`, `number`, `bool`, `time`, `any`, `Name`, `type[]`, `type{}` (values by name),
/// `{field: type, optional?: type}`; `?` after a type lets it be null.
enum APIType {
  struct Field {
    var name: String
    var isRequired: Bool
    var schema: JSON
  }

  static func schema(_ text: Substring) throws(APIDocument.Malformed) -> JSON {
    let text = text.trimmed
    if text.hasSuffix("?") { return nullable(try schema(text.dropLast())) }
    if text.hasSuffix("[]") {
      return .object(["type": .string("array"), "items": try schema(text.dropLast(2))])
    }
    if text.hasSuffix("{}"), text != "{}" {
      return .object([
        "type": .string("object"), "additionalProperties": try schema(text.dropLast(2)),
      ])
    }
    if text.hasPrefix("{"), text.hasSuffix("}") { return try object(text.dropFirst().dropLast()) }
    switch text {
    case "string": return .object(["type": .string("string")])
    case "int": return .object(["type": .string("integer"), "format": .string("int64")])
    case "number": return .object(["type": .string("number")])
    case "bool": return .object(["type": .string("boolean")])
    case "time": return .object(["type": .string("string"), "format": .string("date-time")])
    case "any": return .object([JSON.Member]())
    default:
      guard text.first?.isUppercase == true, text.allSatisfy({ $0.isLetter }) else {
        throw APIDocument.Malformed(line: String(text))
      }
      return .object(["$ref": .string("#/components/schemas/\(text)")])
    }
  }

  private static func object(_ text: Substring) throws(APIDocument.Malformed) -> JSON {
    let fields = try fields(text)
    return .object([
      "type": .string("object"),
      "properties": .object(fields.map { JSON.Member($0.name, $0.schema) }),
      "required": .array(fields.filter(\.isRequired).map { .string($0.name) }),
    ])
  }

  static func fields(_ text: Substring) throws(APIDocument.Malformed) -> [Field] {
    var fields: [Field] = []
    for part in parts(text) {
      guard let colon = part.firstIndex(of: ":") else {
        throw APIDocument.Malformed(line: String(text))
      }
      let name = part[..<colon].trimmed
      fields.append(
        Field(
          name: String(name.hasSuffix("?") ? name.dropLast() : name),
          isRequired: !name.hasSuffix("?"), schema: try schema(part[part.index(after: colon)...])))
    }
    return fields
  }

  /// What stands between the commas that are in no braces.
  private static func parts(_ text: Substring) -> [Substring] {
    var parts: [Substring] = []
    var depth = 0
    var start = text.startIndex
    for index in text.indices {
      switch text[index] {
      case "{": depth += 1
      case "}": depth -= 1
      case "," where depth == 0:
        parts.append(text[start..<index].trimmed)
        start = text.index(after: index)
      default: break
      }
    }
    parts.append(text[start...].trimmed)
    return parts.filter { !$0.isEmpty }
  }

  private static func nullable(_ schema: JSON) -> JSON {
    if case .object(let members) = schema, case .string(let type)? = schema["type"] {
      return .object(
        members.map { member in
          member.key == "type" ? .init("type", .array([.string(type), .string("null")])) : member
        })
    }
    return .object(["anyOf": .array([schema, .object(["type": .string("null")])])])
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    let start = drop { $0.isWhitespace }
    return Substring(start.reversed().drop { $0.isWhitespace }.reversed())
  }
}

extension String {
  fileprivate var trimmed: Substring { Substring(self).trimmed }
}
