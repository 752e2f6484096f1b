// kstatus reads Kubernetes objects, one JSON document a line, and prints how the kstatus library judges each of them:
// Current, InProgress, Failed, Terminating, NotFound or Unknown, a tab, and the library's sentence.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	objects := json.NewDecoder(os.Stdin)
	for {
		object := &unstructured.Unstructured{}
		err := objects.Decode(object)
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "kstatus: not an object: %v\n", err)
			os.Exit(1)
		}
		result, err := status.Compute(object)
		if err != nil {
			fmt.Fprintf(os.Stderr, "kstatus: %s: %v\n", object.GetName(), err)
			os.Exit(1)
		}
		fmt.Printf("%s\t%s\n", result.Status, result.Message)
	}
}
