import Catalog
import Core
import Foundation
import Testing

@Suite("Definitions")
struct DefinitionFileTests {
  @Test("a good file is read", arguments: DefinitionFixtures.names("good"))
  func goodFiles(name: String) throws {
    do {
      let project = try DefinitionFixtures.good(name)
      #expect(!project.name.isEmpty)
    } catch let errors as DefinitionErrors {
      Issue.record("\(name): \(errors)")
    }
  }

  @Test("a bad file is refused with every error in its place", arguments: DefinitionFixtures.names("bad"))
  func badFiles(name: String) throws {
    let expected = try DefinitionFixtures.expected(name).trimmingCharacters(in: .newlines)
    do {
      _ = try DefinitionFixtures.parse(DefinitionFixtures.bytes("bad", name))
      Issue.record("\(name) was accepted")
    } catch let errors as DefinitionErrors {
      #expect(errors.description == expected, "\(name)")
    }
  }

  @Test("there are at least thirty bad files")
  func enoughBadFiles() {
    #expect(DefinitionFixtures.names("bad").count >= 30)
  }

  @Test("a definition survives its JSON form", arguments: DefinitionFixtures.names("good"))
  func jsonRoundTrip(name: String) throws {
    let project = try DefinitionFixtures.good(name)
    let data = try JSONEncoder().encode(project)
    #expect(try JSONDecoder().decode(ProjectDefinition.self, from: data) == project)
  }
}
