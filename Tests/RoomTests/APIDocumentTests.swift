import Core
import Server
import Testing

@Suite("The description of the REST API")
struct APIDocumentTests {
  /// Of exactly the calls that are described.
  private func document() throws -> JSON {
    try APIDocument.make(
      routes: APIDocument.described().map { call in
        let parts = call.split(separator: " ")
        let path = parts[1].replacing("{", with: ":").replacing("}", with: "")
        return (method: String(parts[0]), path: String(path))
      })
  }

  private func members(_ json: JSON?) -> [JSON.Member] {
    if case .object(let members)? = json { members } else { [] }
  }

  private func operations() throws -> [(call: String, operation: JSON)] {
    members(try document()["paths"]).flatMap { path in
      members(path.value).map { ("\($0.key) \(path.key)", $0.value) }
    }
  }

  /// Every value under a name, wherever it stands.
  private func all(_ name: String, in json: JSON) -> [JSON] {
    switch json {
    case .object(let members):
      members.flatMap { ($0.key == name ? [$0.value] : []) + all(name, in: $0.value) }
    case .array(let items): items.flatMap { all(name, in: $0) }
    default: []
    }
  }

  @Test("every call has a name of its own, a summary, an answer and the parameters of its path")
  func operationsAreWhole() throws {
    let operations = try operations()
    #expect(operations.count == (try APIDocument.described().count) && operations.count > 45)
    #expect(Set(operations.map { $0.operation["operationId"]?.string }).count == operations.count)
    for (call, operation) in operations {
      #expect(operation["summary"]?.string?.hasSuffix(".") == true, "\(call)")
      #expect(operation["responses"]?["200"]?["content"] != nil, "\(call)")
      let declared = (operation["parameters"]?.array ?? []).filter { $0["in"]?.string == "path" }
      let inPath = call.split(separator: "/").filter { $0.hasPrefix("{") }
        .map { String($0.dropFirst().dropLast()) }
      #expect(declared.map { $0["name"]?.string } == inPath, "\(call)")
    }
  }

  @Test("every schema that is referred to is there, and every one that is there is referred to")
  func references() throws {
    let document = try document()
    let schemas = members(document["components"]?["schemas"]).map {
      "#/components/schemas/\($0.key)"
    }
    let referred = all("$ref", in: document).compactMap(\.string)
    #expect(Set(referred) == Set(schemas))
  }

  @Test("a route that nothing describes is in the document, and what no route serves is listed")
  func drift() throws {
    let document = try APIDocument.make(routes: [(method: "GET", path: "/api/v1/new/:thing")])
    #expect(members(document["paths"]).map(\.key) == ["/api/v1/new/{thing}"])
    #expect((document["x-not-served"]?.array ?? []).count == (try APIDocument.described().count))
  }
}
