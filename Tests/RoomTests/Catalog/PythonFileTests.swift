import Catalog
import Core
import Testing

@Suite("Functions that definitions name")
struct PythonFileTests {
  private static func errors(_ code: String) -> [String] {
    let yaml = """
      project: shop
      entities: {customer: {key: [customer_id]}}
      sources:
        orders:
          event_time: at
          columns: {customer_id: int64}
          transform: code.py:train

      """
    let files = ProjectFiles(exists: { $0 == "code.py" }, text: { _ in code })
    do {
      _ = try DefinitionFile.parse(Array(yaml.utf8), files)
      return []
    } catch {
      return error.description.split(separator: "\n").map(String.init)
    }
  }

  @Test(
    "what defines the function, or could, is accepted",
    arguments: [
      "def train(rows):\n    return rows\n", "async def train(rows): ...", "class train:\n  pass",
      "train = make()\n", "train: object = make()\n", "other, train = make()\n",
      "from models import train\n", "from models import (\n    other,\n    train,\n)\n",
      "from models import fit as train\n", "import train\n", "from models import *\n",
      "globals()['tra' + 'in'] = print\n", "exec(open('more.py').read())\n",
      "def __getattr__(name): ...\n", "for train in makers: pass\n",
      "if True:\n    def train(rows): ...\n", "with make() as train: ...\n",
      "x = \"it's\"\ndef train(): ...\n", "'''a \"\"\" b'''\ndef train(): ...\n",
      "path = r'c:\\'\ndef train(): ...\n", "x = 'open\ndef train(): ...\n",
      "def \\\n  train(): ...\n",
    ])
  func accepted(code: String) {
    #expect(Self.errors(code).isEmpty, "\(Self.errors(code)) for \(code)")
  }

  @Test(
    "a function that nothing in the file defines is refused",
    arguments: [
      "", "# def train(rows): ...\n", "\"\"\"\ndef train(): ...\n\"\"\"\n", "'train = 1'\n",
      "def fit(rows): ...\n", "def trains(rows): ...\n", "models.train = 3\n",
      "def fit(rows):\n    return train(rows)\n", "from models import trainer\n",
    ])
  func refused(code: String) {
    let found = Self.errors(code)
    #expect(found.count == 1 && found[0].contains("'code.py' does not define 'train'"), "\(found)")
    #expect(found.first?.hasPrefix("martlet.yaml:7:") == true, "\(found)")
  }

  @Test("the nearest function of the file is suggested")
  func suggested() {
    let found = Self.errors("def helper(): ...\n\n\nclass A:\n    pass\n\n\ndef trains(x): ...\n")
    #expect(found.first?.contains("did you mean 'trains'?") == true, "\(found)")
  }

  @Test("a file that cannot be read as text is not judged")
  func unreadable() throws {
    let yaml = """
      project: shop
      sources:
        orders: {event_time: at, columns: {a: int64}, transform: code.py:train}

      """
    _ = try DefinitionFile.parse(Array(yaml.utf8), ProjectFiles(exists: { _ in true }))
  }
}
